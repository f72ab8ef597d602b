"""What Python computes, and which of its tensors stands for which layer of the artifacts."""
