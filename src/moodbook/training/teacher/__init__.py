"""The teacher: a network that learned from the tags of 200,000 songs, whose view of music step 1 can be asked to keep.

    tensor_bundle.py    reads its weights, without TensorFlow
    musicnn.py          the network itself, and the log-mel it hears
    hearing.py          what it hears of each segment, computed once and cached
    teacher.py          what it says of it

Nothing of it is needed to tag music, and none of its weights are in a model that was trained with it.
"""
