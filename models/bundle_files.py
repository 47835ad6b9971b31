"""The names of the files in a policy's folder: network, description, report of the check, the upload."""

MODEL_NAME = "model.onnx"
METADATA_NAME = "model_metadata.json"
REPORT_NAME = "bundle.json"
ORIGINAL_NAME = "original"
