"""dreamr: large multimodal models that reason several times faster."""
