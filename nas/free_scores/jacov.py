"""The covariance of Jacobians: NASWOT's first version (Mellor et al. 2020), jacob_cov in Abdelfattah et al. 2021."""

from __future__ import annotations

import torch
from torch import Tensor

from searchspace import Network

K = 1e-5  # of the original code: keeps the logarithm of an eigenvalue of zero finite


def jacov(network: Network, images: Tensor) -> dict[str, float]:
    """-sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlations between the images' gradients.

    An image's gradient is that of the sum of all outputs. Batch normalisation is in training mode. The score is low
    where the network reacts alike to different images.
    """
    images = images.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).sum(), images)
    correlations = torch.corrcoef(gradient.flatten(1).double().cpu())
    if not bool(correlations.isfinite().all()):
        return {}
    values = torch.linalg.eigvalsh(correlations)
    return {"jacov": -float((torch.log(values + K) + 1 / (values + K)).sum())}
