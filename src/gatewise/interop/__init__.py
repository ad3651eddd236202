"""Exchange with other libraries: ONNX files, weights of Keras."""
