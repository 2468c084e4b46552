"""The teacher: networks that learned from the tags of many songs, whose view of music step 1 can be asked to keep.

    names.py            which there are, and how much each says
    tensor_bundle.py    reads its weights, without TensorFlow
    musicnn.py          such a network, and the log-mel it hears
    hearing.py          what it hears of each segment, computed once and cached
    teacher.py          what it says of it
    sayings.py          the same, said once and cached
    lesson.py           which of the two a step 1 learns from
    harmony.py          what is said of pitch, by counting

Nothing of it is needed to tag music, and none of its weights are in a model that was trained with it.
"""
