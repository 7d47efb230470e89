"""What a library's error becomes: one sentence, of what was objected to and where."""

from __future__ import annotations

from federated_training.problems import cause, first_sentence

_GRAPH = """Graph execution error:

Detected at node sequential_1/words_1/GatherV2 defined at (most recent call last):
  File "<stdin>", line 1, in <module>

  File "/usr/lib/python3/keras/src/layers/core/embedding.py", line 196, in call

indices[0,0] = 9 is not in [0, 4)
\t [[{{node sequential_1/words_1/GatherV2}}]] [Op:__inference_one_step_on_data_187]"""

_SEVERAL = """Graph execution error:

Detected at node 'model/dense/MatMul' defined at (most recent call last):
    File "x.py", line 1, in <module>
Node: 'model/dense/MatMul'
2 root error(s) found.
  (0) INVALID_ARGUMENT:  Matrix size-incompatible: In[0]: [2,7], In[1]: [3,2]
\t [[{{node model/dense/MatMul}}]]
\t [[model/loss/_12]]
  (1) INVALID_ARGUMENT:  Matrix size-incompatible: In[0]: [2,7], In[1]: [3,2]
\t [[{{node model/dense/MatMul}}]]"""


def test_a_graph_s_error_is_what_its_operation_objected_to_and_the_layer() -> None:
    """The stack of the program is left out; the scope's number is no part of the layer's name."""
    assert cause(RuntimeError(_GRAPH), {"words", "dense"}) == "indices[0,0] = 9 is not in [0, 4) (in the layer 'words')"
    assert cause(RuntimeError(_GRAPH)) == "indices[0,0] = 9 is not in [0, 4)"


def test_of_several_root_errors_the_first_is_told() -> None:
    """Their list, and the nodes that they repeat, are left out."""
    text = cause(RuntimeError(_SEVERAL), {"dense"})
    assert text == "Matrix size-incompatible: In[0]: [2,7], In[1]: [3,2] (in the layer 'dense')"


def test_a_batch_s_labels_are_not_told() -> None:
    """They are data of a client."""
    error = ValueError("Received a label value of 7 which is outside the valid range of [0, 2).  Label values: 5 7 1")
    assert first_sentence(error) == "Received a label value of 7 which is outside the valid range of [0, 2)."


def test_the_innermost_error_is_told_without_colours() -> None:
    """Keras wraps what a layer says in a message with the layer's whole config, in bold."""
    inner = ValueError("\x1b[1mexpected axis -1 to have value 3\x1b[0m")
    outer = RuntimeError("Exception encountered when calling Dense.call().\n\nArguments ...")
    outer.__cause__ = inner
    assert cause(outer) == "expected axis -1 to have value 3"
    assert first_sentence(MemoryError()) == "MemoryError"
