"""Trained networks → ONNX graphs with proven parity → a bundle that the engine plays."""
