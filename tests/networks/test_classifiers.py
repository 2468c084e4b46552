"""The three classifiers: sizes, the order of features, padding, options, and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from moodbook.errors import DataError
from moodbook.networks.cnn import CNNClassifier
from moodbook.networks.config import CNNConfig, GRUConfig, StatisticsConfig, VGGishConfig, VQVAEConfig
from moodbook.networks.gru import GRUClassifier
from moodbook.networks.statistics import StatisticsClassifier
from moodbook.networks.vggish import VGGish

VQVAE_NARROW = VQVAEConfig(width=8, codebook_size=16)
GRU_NARROW = GRUConfig(hidden=6, dense=(8, 5))
CNN_NARROW = CNNConfig(channels=2, hidden=8, dense=6)
VGGISH_NARROW = VGGishConfig(maps=(3, 4, 4, 4, 3))


def output_sizes(network: nn.Module, modules: nn.ModuleList, inputs: Tensor) -> list[tuple[int, ...]]:
    """Sizes of what the modules give during one forward pass, without the batch axis."""
    seen: list[tuple[int, ...]] = []
    hooks = [m.register_forward_hook(lambda _m, _i, output: seen.append(tuple(output.shape[1:]))) for m in modules]
    network(inputs)
    for hook in hooks:
        hook.remove()
    return seen


class TestGRU:
    def test_final_states_and_dense_layers_have_the_sizes_of_the_authors(self) -> None:
        gru = GRUClassifier(GRUConfig(), VQVAEConfig(), n_tags=56)
        with torch.no_grad():
            sizes = output_sizes(gru, gru.dense, torch.zeros(1, 256, 4, 512))
        assert gru.recurrent.input_size == 1024
        assert gru.norm.normalized_shape == (512, 512)
        assert gru.state_norm.normalized_shape == (4, 256)
        assert sizes == [(512,), (256,)]

    def test_the_papers_wording_is_one_layer_and_one_dense_layer(self) -> None:
        gru = GRUClassifier(GRUConfig(layers=1, dense=()), VQVAEConfig(), n_tags=56)
        assert gru.recurrent.num_layers == gru.summary.num_layers == 1
        assert len(gru.dense) == 0
        assert gru.output.in_features == 512

    def test_input_size_follows_from_the_latents_not_from_the_codebook(self) -> None:
        for vqvae in (VQVAEConfig(codebook_size=512), VQVAEConfig(type=2)):
            assert GRUClassifier(GRUConfig(), vqvae, n_tags=3).recurrent.input_size == 256 * vqvae.bands

    def test_classifies_by_the_final_states_of_the_second_gru(self) -> None:
        gru = GRUClassifier(GRU_NARROW, VQVAE_NARROW, n_tags=3).eval()
        latents = torch.randn(2, 8, 4, 512)

        sequence = latents.permute(0, 3, 1, 2).reshape(2, 512, 32)
        hidden = nn.functional.layer_norm(gru.recurrent(sequence)[0], (512, 12))
        outputs, _ = gru.summary(hidden)
        # The last layer's forward state is the last output, its backward state the first.
        _, states = gru.summary(hidden)
        assert torch.equal(states[2], outputs[:, -1, :6])
        assert torch.equal(states[3], outputs[:, 0, 6:])
        flat = nn.functional.layer_norm(states.transpose(0, 1), (4, 6)).flatten(1)
        for dense in gru.dense:
            flat = dense(flat).relu()
        torch.testing.assert_close(gru(latents), gru.output(flat))

    def test_one_hot_codes_are_the_latents_of_a_unit_codebook(self) -> None:
        vqvae = VQVAEConfig(width=16, codebook_size=16)
        reads_codes = GRUClassifier(GRU_NARROW.model_copy(update={"input": "one-hot"}), vqvae, n_tags=3).eval()
        reads_latents = GRUClassifier(GRU_NARROW, vqvae, n_tags=3).eval()
        reads_latents.load_state_dict(reads_codes.state_dict())

        codes = torch.randint(0, 16, (2, 4, 512))
        latents = nn.functional.one_hot(codes, 16).permute(0, 3, 1, 2).float()

        assert torch.equal(reads_codes(codes.to(torch.int16)), reads_latents(latents))

    def test_norm_over_features_takes_any_length(self) -> None:
        gru = GRUClassifier(GRU_NARROW.model_copy(update={"layer_norm": "features"}), VQVAE_NARROW, n_tags=3)
        assert gru(torch.randn(2, 8, 4, 77)).shape == (2, 3)

    def test_norm_over_steps_refuses_another_length(self) -> None:
        with pytest.raises(DataError, match=r'expected 512 latent steps, got 77; layer_norm = "features"'):
            GRUClassifier(GRU_NARROW, VQVAE_NARROW, n_tags=3)(torch.randn(2, 8, 4, 77))

    def test_computes_in_float32_under_autocast(self) -> None:
        gru = GRUClassifier(GRU_NARROW, VQVAE_NARROW, n_tags=3).eval()
        latents = torch.randn(2, 8, 4, 512)
        with torch.autocast("cpu", torch.bfloat16):
            logits = gru(latents)
        assert torch.equal(logits, gru(latents))
        assert not torch.equal(logits, gru(latents.bfloat16().float())), "bfloat16 would not have shown"

    def test_codes_with_another_number_of_bands_are_refused(self) -> None:
        gru = GRUClassifier(GRU_NARROW.model_copy(update={"input": "one-hot"}), VQVAE_NARROW, n_tags=3)
        with pytest.raises(DataError, match="expected codes of batch x 4 x steps, got 2 x 1 x 512"):
            gru(torch.zeros(2, 1, 512, dtype=torch.int64))

    def test_dropout_works_in_training_only(self) -> None:
        gru = GRUClassifier(GRU_NARROW, VQVAE_NARROW, n_tags=3)
        latents = torch.randn(2, 8, 4, 512)
        assert not torch.equal(gru(latents), gru(latents))
        gru.eval()
        assert torch.equal(gru(latents), gru(latents))


class TestCNN:
    def test_front_end_gives_29_n_maps_of_512_steps(self) -> None:
        cnn = CNNClassifier(CNNConfig(), VQVAEConfig(), n_tags=56).eval()
        latents = torch.zeros(1, 256, 4, 512)
        with torch.no_grad():
            timbral = output_sizes(cnn, cnn.timbral_norms, latents)
            temporal = output_sizes(cnn, cnn.temporal, latents)
            back_end = output_sizes(cnn, cnn.back_end, latents)
        assert timbral == [(8, 512, 104), (16, 512, 104), (32, 512, 104), (8, 512, 616), (16, 512, 616), (32, 512, 616)]
        assert temporal == [(8, 512), (16, 512), (32, 512), (64, 512)]
        assert cnn.back_end[0].in_channels == 29 * 8 == 232
        # Valid, same, max-pool 2, same.
        assert back_end == [(256, 506), (256, 506), (256, 253)]
        assert cnn.dense.in_features == 512

    @pytest.mark.parametrize(("width", "kind"), [(16, 1), (64, 2), (256, 2), (1, 1), (1, 2), (3, 2)])
    def test_takes_any_number_of_features(self, width: int, kind: int) -> None:
        vqvae = VQVAEConfig(width=width, type=kind)
        cnn = CNNClassifier(CNN_NARROW, vqvae, n_tags=3)
        assert cnn(torch.randn(2, width, vqvae.bands, 64)).shape == (2, 3)

    def test_even_temporal_kernels_keep_the_time(self) -> None:
        # A kernel that is one at the tap over its own step must give back the energy, not the energy a step later.
        cnn = CNNClassifier(CNN_NARROW, VQVAE_NARROW, n_tags=3).eval()
        latents = torch.rand(1, 8, 4, 300)
        for convolution, kernel in zip(cnn.temporal, (165, 128, 64, 32), strict=True):
            with torch.no_grad():
                convolution.weight.zero_()
                convolution.weight[:, :, (kernel - 1) // 2] = 1
            seen: list[Tensor] = []
            hook = convolution.register_forward_hook(lambda _m, _i, output, seen=seen: seen.append(output))
            cnn(latents)
            hook.remove()
            torch.testing.assert_close(seen[0][0, 0], latents[0].mean(dim=(0, 1)))

    def test_timbral_filters_see_features_in_order_and_keep_the_loudest(self) -> None:
        # A filter that picks feature f of its window gives, over all windows, the maximum of a run of features.
        cnn = CNNClassifier(CNN_NARROW, VQVAE_NARROW, n_tags=3).eval()
        latents = torch.rand(1, 8, 4, 20)
        with torch.no_grad():
            for convolution in cnn.timbral:
                convolution.weight.zero_()
                convolution.weight[:, :, convolution.kernel_size[0] // 2, 0] = 1
        seen: list[Tensor] = []
        cnn.back_end[0].register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
        cnn(latents)

        features = latents.permute(0, 3, 1, 2).reshape(20, 32)
        # F = 32: int(.9 F) = 28 leaves 5 windows, int(.4 F) = 12 leaves 21; eval-mode norm divides by sqrt(1 + eps).
        torch.testing.assert_close(seen[0][0, 0], features[:, :5].amax(dim=1) / (1 + 1e-5) ** 0.5)
        torch.testing.assert_close(seen[0][0, 14], features[:, :21].amax(dim=1) / (1 + 1e-5) ** 0.5)

    @pytest.mark.parametrize("width", [1, 8, 23])
    def test_timbral_filters_equal_plain_convolutions(self, width: int) -> None:
        vqvae = VQVAEConfig(width=width)
        cnn = CNNClassifier(CNN_NARROW, vqvae, n_tags=3).double()
        latents = torch.randn(2, width, 4, 40, dtype=torch.float64, requires_grad=True)
        seen: list[Tensor] = []
        for norm in cnn.timbral_norms:
            norm.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
        with torch.autocast("cpu", torch.bfloat16):
            cnn(latents)

        image = latents.permute(0, 3, 1, 2).reshape(2, 1, 40, width * 4)
        learned = (latents, *cnn.timbral.parameters())
        plain = [convolution(image).relu() for convolution in cnn.timbral]
        for ours, theirs in zip(seen, plain, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        found, expected = (
            torch.autograd.grad(sum(maps.square().sum() for maps in side), learned) for side in (seen, plain)
        )
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)

    def test_timbral_filters_stay_float32_under_autocast(self) -> None:
        cnn = CNNClassifier(CNN_NARROW, VQVAE_NARROW, n_tags=3).eval()
        latents = torch.randn(2, 8, 4, 64)
        seen: list[Tensor] = []
        cnn.timbral_norms[0].register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
        cnn(latents)
        with torch.autocast("cpu", torch.bfloat16):
            cnn(latents)
        assert torch.equal(*seen)

    def test_weights_start_as_he(self) -> None:
        cnn = CNNClassifier(CNNConfig(), VQVAEConfig(width=64), n_tags=56)
        for layer in (cnn.timbral[2], cnn.back_end[1], cnn.dense):
            weight = layer.weight.detach()
            assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.05)
            assert not layer.bias.detach().any()

    def test_a_training_batch_of_one_clip_is_refused(self) -> None:
        cnn = CNNClassifier(CNN_NARROW, VQVAE_NARROW, n_tags=3)
        latents = torch.randn(1, 8, 4, 64)
        with pytest.raises(DataError, match="batch of one clip"):
            cnn(latents)
        assert cnn.eval()(latents).shape == (1, 3)

    def test_too_few_steps_are_refused(self) -> None:
        with pytest.raises(DataError, match="expected more than 7 latent steps, got 7"):
            CNNClassifier(CNN_NARROW, VQVAE_NARROW, n_tags=3)(torch.randn(2, 8, 4, 7))


class TestVGGish:
    @pytest.mark.parametrize(
        ("size", "before_each_pool"),
        [
            # The paper's segment: 5 x 3 are left, too few for the organisers' last pool of 4 x 4.
            ((128, 1024), [(128, 1024), (64, 256), (32, 64), (16, 16), (5, 3)]),
            # The organisers' own input: 4 x 4 are left, so that the last pool is theirs.
            ((96, 1366), [(96, 1366), (48, 341), (24, 85), (12, 21), (4, 4)]),
        ],
    )
    def test_sizes_on_log_mel(self, size: tuple[int, int], before_each_pool: list[tuple[int, int]]) -> None:
        vggish = VGGish(VGGISH_NARROW, None, n_tags=3)
        sizes = output_sizes(vggish, vggish.convolutions, torch.randn(2, *size))
        assert [found[1:] for found in sizes] == before_each_pool
        assert [found[0] for found in sizes] == list(VGGISH_NARROW.maps)

    @pytest.mark.parametrize(("width", "kind"), [(256, 1), (64, 2), (1, 2)])
    def test_latents_of_any_width_are_an_image_of_features_and_steps(self, width: int, kind: int) -> None:
        vqvae = VQVAEConfig(width=width, type=kind)
        with torch.device("meta"):
            vggish = VGGish(VGGISH_NARROW.model_copy(update={"input": "latents"}), vqvae, n_tags=3)
            latents = torch.zeros(2, width, vqvae.bands, 512)
            sizes = output_sizes(vggish, vggish.convolutions, latents)
            assert vggish(latents).shape == (2, 3)
        assert sizes[0][1:] == (vqvae.features, 512)

    def test_the_last_pool_takes_the_maximum_of_all_that_is_left(self) -> None:
        vggish = VGGish(VGGISH_NARROW, None, n_tags=3).eval()
        log_mel = torch.randn(2, 128, 1024)
        seen: list[Tensor] = []
        vggish.norms[-1].register_forward_hook(lambda _m, _i, output: seen.append(output))
        logits = vggish(log_mel)
        pooled = nn.functional.elu(seen[0]).amax(dim=(2, 3))
        torch.testing.assert_close(logits, vggish.output(pooled))

    def test_an_empty_image_is_refused(self) -> None:
        with pytest.raises(DataError, match="expected log-mel of batch x bands x frames, got 2 x 128 x 0"):
            VGGish(VGGISH_NARROW, None, n_tags=3)(torch.zeros(2, 128, 0))


@pytest.mark.parametrize("make", [GRUClassifier, CNNClassifier, VGGish])
def test_latents_of_another_vqvae_are_refused(make: type) -> None:
    config = {
        GRUClassifier: GRU_NARROW,
        CNNClassifier: CNN_NARROW,
        VGGish: VGGISH_NARROW.model_copy(update={"input": "latents"}),
    }[make]
    with pytest.raises(DataError, match="expected latents of batch x 8 x 4 x steps, got 2 x 8 x 1 x 512"):
        make(config, VQVAE_NARROW, 3)(torch.randn(2, 8, 1, 512))


def test_the_statistics_are_mean_spread_and_movement() -> None:
    vqvae = VQVAEConfig(width=2, codebook_size=4, type=2)
    classifier = StatisticsClassifier(StatisticsConfig(), vqvae, 6).eval()
    with torch.no_grad():
        classifier.output.weight.copy_(torch.eye(6))
        classifier.output.bias.zero_()
    latents = torch.zeros(1, 2, 1, 4)
    latents[0, 0, 0] = torch.tensor([1.0, 3.0, 1.0, 3.0])
    latents[0, 1, 0] = torch.tensor([0.0, 0.0, 4.0, 4.0])

    # Means 2 and 2, standard deviations 1 and 2, mean steps 2 and 4/3; a fresh batch norm changes nothing.
    torch.testing.assert_close(
        classifier(latents), torch.tensor([[2.0, 2.0, 1.0, 2.0, 2.0, 4 / 3]]), rtol=2e-5, atol=2e-5
    )


def test_latents_that_stand_still_have_a_gradient() -> None:
    classifier = StatisticsClassifier(StatisticsConfig(dropout=0.0), VQVAEConfig(width=2, codebook_size=4), 1)
    latents = torch.ones(3, 2, 4, 8, requires_grad=True)
    classifier(latents).sum().backward()
    assert latents.grad is not None
    assert latents.grad.isfinite().all()


def test_statistics_of_one_step_or_one_clip_are_refused() -> None:
    classifier = StatisticsClassifier(StatisticsConfig(), VQVAEConfig(width=2, codebook_size=4), 1)
    with pytest.raises(DataError, match="expected at least 2 latent steps to measure movement, got 1"):
        classifier(torch.zeros(2, 2, 4, 1))
    with pytest.raises(DataError, match="batch norm cannot learn from a batch of one clip"):
        classifier(torch.zeros(1, 2, 4, 8))
