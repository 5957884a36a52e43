"""Initializers in the style of torch.nn.init, a family a file."""
