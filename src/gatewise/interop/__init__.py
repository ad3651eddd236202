"""Networks of other libraries, and networks for them: ONNX files, weights of Keras."""
