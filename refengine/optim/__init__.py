"""Optimizers: what turns gradients into steps of the parameters."""

from __future__ import annotations

from refengine.optim.adam import Adam as Adam
from refengine.optim.adam import AdamW as AdamW
from refengine.optim.optimizer import Optimizer as Optimizer
from refengine.optim.sgd import SGD as SGD
