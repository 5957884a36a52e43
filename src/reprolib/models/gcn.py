"""Graph convolutional networks (Kipf & Welling, 2017), with every pre-activation in reach."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# torch warns once a process that CSR is in beta; the products used here are checked against dense ones
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def normalized_adjacency(
    edge_index: Int[Tensor, "2 edges"], num_nodes: int, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "nodes nodes"]:
    r"""Return :math:`P=\tilde D^{-1/2}(A+I)\tilde D^{-1/2}` as a CSR tensor.

    Args:
        edge_index: the two ends of every edge, both directions listed. Self-loops are replaced by one a node;
            repeated edges add up.
        num_nodes: isolated nodes count too; they keep their self-loop.
        dtype: of the values.

    Raises:
        ValueError: `edge_index` has another shape or type, names a node that is not there, or holds an edge without
            its reverse.
    """
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise ValueError(
            f"edge_index must be int64 of shape (2, edges), got {edge_index.dtype} {tuple(edge_index.shape)}."
        )
    if edge_index.numel() and not 0 <= edge_index.min() <= edge_index.max() < num_nodes:
        raise ValueError(f"edge_index must name nodes from 0 to {num_nodes - 1}.")
    row, col = edge_index[:, edge_index[0] != edge_index[1]]
    if not torch.equal((row * num_nodes + col).sort().values, (col * num_nodes + row).sort().values):
        raise ValueError("the graph is directed: edge_index must list every edge in both directions.")
    nodes = torch.arange(num_nodes, device=edge_index.device)
    row, col = torch.cat([row, nodes]), torch.cat([col, nodes])
    scale = torch.bincount(row, minlength=num_nodes).to(dtype).rsqrt()
    return torch.sparse_coo_tensor(
        torch.stack([row, col]), scale[row] * scale[col], (num_nodes, num_nodes), check_invariants=False
    ).to_sparse_csr()


class FixedSparse:
    """A constant sparse matrix for use inside autograd: ``matrix @ dense``.

    Same result as a CSR tensor, but it keeps its own transpose, which torch would build anew in every
    backward pass; the training of a GCN on Cora becomes about three times faster.

    Args:
        matrix: shape (rows, columns), dense or sparse; it gets no gradient.
    """

    def __init__(self, matrix: Float[Tensor, "rows columns"]):
        matrix = matrix.detach()
        self.shape = matrix.shape
        self.forward = matrix.to_sparse_csr()
        self.backward = matrix.to_sparse_coo().T.to_sparse_csr()

    def __matmul__(self, dense: Float[Tensor, "*batch columns k"]) -> Float[Tensor, "*batch rows k"]:
        joined = dense.movedim(-2, 0)  # a batch stands side by side, so that one product serves all of it
        product = _Product.apply(joined.flatten(1), self.forward, self.backward)
        return product.view(-1, *joined.shape[1:]).movedim(0, -2)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, dense, matrix, transpose):
        ctx.transpose = transpose
        return matrix @ dense

    @staticmethod
    def backward(ctx, grad):
        return ctx.transpose @ grad, None, None


def gcn(
    P: Float[Tensor, "nodes nodes"] | FixedSparse,
    x: Float[Tensor, "nodes features"] | FixedSparse,
    weights: Sequence[Float[Tensor, "*batch fan_in fan_out"]],
    biases: Sequence[Float[Tensor, "*#batch fan_out"]] | None = None,
) -> list[Float[Tensor, "*batch nodes fan_out"]]:
    r"""Return the pre-activations :math:`Y^{(l)}=P\,\mathrm{ReLU}(Y^{(l-1)})W^{(l)}+b^{(l)}` of all layers.

    The first layer takes `x` itself; the last entry holds the logits.

    Args:
        P, x: dense or `FixedSparse`; for one network CSR, too.
        weights: first layer first, stored (in, out), with leading batch dimensions if there are many networks.
        biases: one a layer, (..., 1, out) if there are many networks; None stands for zeros.
    """
    outputs, h = [], x
    for layer, weight in enumerate(weights):
        y = P @ (h @ weight)
        if biases is not None:
            y = y + biases[layer]
        outputs.append(y)
        h = y.relu()
    return outputs


class GCN(nn.Module):
    """A graph convolutional network with one hidden width.

    Weights are stored (in, out) in `weights`, biases in `biases`. Weights start Xavier-uniform as in the
    original GCN, biases at zero; `reprolib.init` fills `weights` otherwise.

    Args:
        in_dim: features a node.
        hidden_dim: width of every hidden layer.
        out_dim: classes.
        num_layers: layers with weights, at least 1.

    Raises:
        ValueError: `num_layers` is below 1.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}.")
        widths = [in_dim] + [hidden_dim] * (num_layers - 1) + [out_dim]
        shapes = pairwise(widths)
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(shape)) for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(width) for width in widths[1:])

    def pre_activations(self, P, x) -> list[Float[Tensor, "nodes fan_out"]]:
        """Return the outputs of all layers before their ReLU, logits last; arguments as `gcn`."""
        return gcn(P, x, list(self.weights), list(self.biases))

    def forward(self, P, x) -> Float[Tensor, "nodes out_dim"]:
        """Return the logits; arguments as `gcn`."""
        return self.pre_activations(P, x)[-1]
