"""Diffusion models in the denoiser's form: guidance, exact and learned denoisers, and a sampler."""
