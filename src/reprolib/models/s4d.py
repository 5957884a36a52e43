"""Diagonal state space layers (S4D; Gu, Gupta, Goel and Ré, 2022), and a dense one to compare with."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from reprolib.init.s4d import check_kind, check_state_size, hippo_legs, s4d_, s4d_input

DISCRETIZATIONS = ("zoh", "bilinear")
DYNAMICS = ("log_dt", "A_log_real", "A_imag")  # trained slowly and without weight decay


def fft_conv(u: Float[Tensor, "*batch L"], k: Float[Tensor, "*batch L"]) -> Float[Tensor, "*batch L"]:
    r"""Return the causal convolution :math:`y_t=\sum_{\ell\le t}k_\ell u_{t-\ell}` along the last dimension.

    Other dimensions broadcast. Both are padded to length 2L: a shorter FFT would wrap the end of the sequence around
    to its beginning.

    It can be differentiated once: asking for a second derivative raises.

    Raises:
        ValueError: the lengths differ.
    """
    if u.shape[-1] != k.shape[-1]:
        raise ValueError(f"sequence and kernel must have one length, got {u.shape[-1]} and {k.shape[-1]}.")
    return _Convolution.apply(u, k)


class _Convolution(torch.autograd.Function):
    """Its gradient is a correlation with the spectra that are there already; torch's takes full complex FFTs."""

    @staticmethod
    def forward(ctx, u, k):
        spectra = [torch.fft.rfft(x.contiguous(), n=2 * x.shape[-1]) for x in (u, k)]
        ctx.save_for_backward(*spectra)
        return _first_half(spectra[0] * spectra[1], u.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        L = grad.shape[-1]
        U, K = ctx.saved_tensors
        G = torch.fft.rfft(grad.contiguous(), n=2 * L)
        return tuple(
            _first_half((G * other.conj()).sum_to_size(own.shape), L) if needed else None
            for own, other, needed in zip((U, K), (K, U), ctx.needs_input_grad, strict=True)
        )


def _first_half(spectrum: Complex[Tensor, "*batch L+1"], L: int) -> Float[Tensor, "*batch L"]:
    return torch.fft.irfft(spectrum, n=2 * L)[..., :L]


def discretize(
    A: Complex[Tensor, "*shape"], dt: Float[Tensor, "*shape"], disc: str
) -> tuple[Complex[Tensor, "*shape"], Complex[Tensor, "*shape"]]:
    r"""Return :math:`\log\bar A` and :math:`\bar B` of the diagonal system :math:`\dot x=Ax+u` sampled every `dt`.

    The logarithm, because :math:`\bar A^\ell=\exp(\ell\log\bar A)` needs no powers. Zero-order hold:
    :math:`\bar A=e^{\Delta A}`, :math:`\bar B=(\bar A-1)/A`. Bilinear:
    :math:`\bar A=\frac{1+\Delta A/2}{1-\Delta A/2}`, :math:`\bar B=\frac\Delta{1-\Delta A/2}`.
    """
    dtA = dt * A
    if disc == "zoh":
        return dtA, torch.expm1(dtA) / A
    return ((1 + dtA / 2) / (1 - dtA / 2)).log(), dt / (1 - dtA / 2)


class S4DKernel(nn.Module):
    r"""The convolution kernels of H diagonal state space models with N states each.

    :math:`\bar K_\ell=2\,\mathrm{Re}\sum_{n<N/2}C_n\bar B_n\bar A_n^\ell`: a Vandermonde product with one eigenvalue of
    each conjugate pair. The input vector B is absorbed in C.

    Initialization: :math:`\log\Delta` uniform between the logarithms of `dt_min` and `dt_max`; A by
    `reprolib.init.s4d.s4d_`; C complex standard normal (times the B of `init`).

    Args:
        d_model: H, the number of channels.
        d_state: N, even.
        dt_min, dt_max: range of the step :math:`\Delta` at the start, 0 < dt_min < dt_max.
        init: one of `reprolib.init.s4d.KINDS`.
        disc: ``"zoh"`` or ``"bilinear"``.
        trainable: whether :math:`\Delta` and A are parameters (C always is).
        generator: source of randomness. The step is drawn first, then C, then A: with equal seeds, kernels of
            different `init` have equal steps, and equal C up to B.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        init: str = "inv",
        disc: str = "zoh",
        trainable: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_state_size(d_state)
        check_kind(init)
        if disc not in DISCRETIZATIONS:
            raise ValueError(f"the discretization must be 'zoh' or 'bilinear', got {disc!r}.")
        self.disc = disc
        log_dt = draw_log_dt(d_model, dt_min, dt_max, generator)
        C = torch.randn(d_model, d_state // 2, 2, generator=generator) / math.sqrt(2)
        C = torch.view_as_complex(C) * s4d_input(d_state, init).to(torch.complex64)
        A_log_real, A_imag = s4d_(*torch.empty(2, d_model, d_state // 2), kind=init, generator=generator)
        self.C = nn.Parameter(torch.view_as_real(C))  # optimizers handle real parameters best
        for name, value in (("log_dt", log_dt), ("A_log_real", A_log_real), ("A_imag", A_imag)):
            if trainable:
                self.register_parameter(name, nn.Parameter(value.clone()))
            else:
                self.register_buffer(name, value.clone())

    def discrete(self) -> tuple[Complex[Tensor, "H N/2"], Complex[Tensor, "H N/2"], Complex[Tensor, "H N/2"]]:
        r"""Return :math:`\log\bar A`, :math:`\bar B` and C."""
        A = torch.complex(-self.A_log_real.exp(), self.A_imag)
        return *discretize(A, self.log_dt.exp()[:, None], self.disc), torch.view_as_complex(self.C)

    def forward(self, L: int) -> Float[Tensor, "H L"]:
        r"""Return the first L values of every kernel.

        With :math:`\ell=bp+q`, :math:`b\approx\sqrt L`, the Vandermonde product is a matrix product of
        :math:`C_n\bar B_n\bar A_n^{bp}` and :math:`\bar A_n^q`, which needs :math:`O(N\sqrt L)` exponentials and memory
        instead of :math:`O(NL)`. In single precision phases are off by about 1e-7 times L times the largest
        discrete frequency.
        """
        if L < 1:
            raise ValueError(f"the length must be at least 1, got {L}.")
        log_A, B, C = self.discrete()
        b = math.isqrt(L - 1) + 1
        q = torch.arange(b, device=log_A.device)
        near, far = _powers(log_A, torch.stack([q, b * q])).unbind(-2)  # H N/2 b
        return 2 * ((B * C)[..., None] * far).mT.matmul(near).real.flatten(1)[:, :L]


def _powers(log_A: Complex[Tensor, "*shape"], exponents: Int[Tensor, "2 b"]) -> Complex[Tensor, "*shape 2 b"]:
    z = log_A[..., None, None] * exponents
    return torch.polar(z.real.exp(), z.imag)  # twice as fast as a complex exponential


class DenseLegSKernel(nn.Module):
    r"""The same for the dense HiPPO-LegS system, the reference that S4D simplifies.

    A and B are real and stay fixed, zero-order hold; :math:`\Delta` and a real C, standard normal, are parameters.
    Costs :math:`O(N^3)` a channel for the matrix exponential and :math:`O(N^2L)` for the kernel. Only first derivatives
    are right.

    Args:
        d_model, d_state, dt_min, dt_max, generator: as in `S4DKernel`; with equal seeds the steps are equal, too.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        A, B, _ = hippo_legs(d_state, torch.get_default_dtype())
        self.register_buffer("A", A)
        self.register_buffer("B", B)
        self.log_dt = nn.Parameter(draw_log_dt(d_model, dt_min, dt_max, generator))
        self.C = nn.Parameter(torch.randn(d_model, d_state, generator=generator))

    def forward(self, L: int) -> Float[Tensor, "H L"]:
        r"""Return the first L values of every kernel, by doubling: :math:`[R,\ \bar A^{m}R]` has twice the columns."""
        dt = self.log_dt.exp()[:, None, None]
        power = torch.matrix_exp(dt.detach() * self.A)  # H N N
        power = power + (dt - dt.detach()) * (self.A @ power)  # adds 0 and, cheaper than torch's own, the derivative
        B = torch.linalg.solve_triangular(self.A, power @ self.B[:, None] - self.B[:, None], upper=False)
        reached = B  # columns: A^l B for l = 0 .. m-1
        while reached.shape[-1] < L:
            reached = torch.cat([reached, power @ reached], dim=-1)
            power = power @ power
        return torch.einsum("hn,hnl->hl", self.C, reached[..., :L])


class S4D(nn.Module):
    """One sequence layer: kernel convolution and skip, GELU, dropout, then a gated linear map of the channels.

    Args:
        d_model: H, the number of channels.
        d_state: N, even.
        dropout: probability, applied to each entry.
        bidirectional: add a second kernel that runs from the end of the sequence to its beginning.
        kernel: a module that maps a length to kernels (H, L), instead of an `S4DKernel`; excludes `bidirectional`.
        **kernel_args: for `S4DKernel`.

    Raises:
        ValueError: as `S4DKernel`.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 64,
        dropout: float = 0.0,
        bidirectional: bool = False,
        kernel: nn.Module | None = None,
        **kernel_args,
    ):
        super().__init__()
        if kernel is not None and (bidirectional or kernel_args):
            raise ValueError("a kernel of your own comes without bidirectional and without kernel arguments.")
        self.kernel = kernel or S4DKernel(d_model, d_state, **kernel_args)
        self.backward_kernel = S4DKernel(d_model, d_state, **kernel_args) if bidirectional else None
        self.D = nn.Parameter(torch.randn(d_model))
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Linear(d_model, 2 * d_model)

    def forward(self, u: Float[Tensor, "batch H L"]) -> Float[Tensor, "batch H L"]:
        """Map whole sequences."""
        L = u.shape[-1]
        skip = nn.functional.pad(self.D[:, None], (0, L - 1))  # a kernel, too: D now, nothing later
        y = fft_conv(u, self.kernel(L) + skip)
        if self.backward_kernel is not None:
            y = y + fft_conv(u.flip(-1), self.backward_kernel(L)).flip(-1)
        return self._pointwise(y.mT).mT

    def step(
        self, u: Float[Tensor, "batch H"], state: Complex[Tensor, "batch H N/2"] | None = None
    ) -> tuple[Float[Tensor, "batch H"], Complex[Tensor, "batch H N/2"]]:
        r"""Map one time step: :math:`x_k=\bar Ax_{k-1}+\bar Bu_k`, :math:`y_k=2\,\mathrm{Re}\,(Cx_k)+Du_k`.

        Args:
            u: the inputs of this step.
            state: what the step before returned; None at the beginning of the sequences.

        Raises:
            ValueError: the layer is bidirectional, or its kernel is no `S4DKernel`.
        """
        if self.backward_kernel is not None or not isinstance(self.kernel, S4DKernel):
            raise ValueError("only a layer with a single S4DKernel can run step by step.")
        log_A, B, C = self.kernel.discrete()
        state = B * u[..., None] + (0 if state is None else log_A.exp() * state)
        y = 2 * (C * state).sum(dim=-1).real + self.D * u
        return self._pointwise(y), state

    def _pointwise(self, y: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch H"]:
        y = self.dropout(nn.functional.gelu(y.contiguous()))  # several times slower on a transposed tensor
        return nn.functional.glu(self.mix(y), dim=-1)


def parameter_groups(model: nn.Module, lr: float, ssm_lr: float, weight_decay: float) -> list[dict]:
    """Return two groups for an optimizer: the steps and state matrices, with `ssm_lr` and no decay; and the rest."""
    dynamics, rest = [], []
    for name, parameter in model.named_parameters():
        (dynamics if name.rpartition(".")[2] in DYNAMICS else rest).append(parameter)
    return [
        {"params": dynamics, "lr": ssm_lr, "weight_decay": 0.0},
        {"params": rest, "lr": lr, "weight_decay": weight_decay},
    ]


def draw_log_dt(
    d_model: int, dt_min: float, dt_max: float, generator: torch.Generator | None = None
) -> Float[Tensor, " H"]:
    """Draw the logarithms of `d_model` steps, uniform between those of `dt_min` and `dt_max`.

    Raises:
        ValueError: `d_model` is not positive, or not 0 < dt_min < dt_max.
    """
    if isinstance(d_model, bool) or not isinstance(d_model, int) or d_model < 1:
        raise ValueError(f"the number of channels must be a positive integer, got {d_model!r}.")
    if not 0 < dt_min < dt_max < math.inf:
        raise ValueError(f"the steps need 0 < dt_min < dt_max, got dt_min={dt_min!r} and dt_max={dt_max!r}.")
    low, high = math.log(dt_min), math.log(dt_max)
    return torch.rand(d_model, generator=generator) * (high - low) + low
