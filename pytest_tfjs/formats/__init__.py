"""File and wire formats: safetensors, strict JSON, text escaped for terminals."""
