"""Modules, thinly: parameters, layers, losses, and the functions they are made of."""

from __future__ import annotations

from refengine.nn import functional as functional
from refengine.nn import init as init
from refengine.nn.batchnorm import BatchNorm1d as BatchNorm1d
from refengine.nn.container import ModuleList as ModuleList
from refengine.nn.container import Sequential as Sequential
from refengine.nn.dropout import Dropout as Dropout
from refengine.nn.layer import Flatten as Flatten
from refengine.nn.layer import Identity as Identity
from refengine.nn.layer import LayerNorm as LayerNorm
from refengine.nn.layer import Linear as Linear
from refengine.nn.layer import ReLU as ReLU
from refengine.nn.layer import Sigmoid as Sigmoid
from refengine.nn.layer import Tanh as Tanh
from refengine.nn.loss import CrossEntropyLoss as CrossEntropyLoss
from refengine.nn.loss import L1Loss as L1Loss
from refengine.nn.loss import MSELoss as MSELoss
from refengine.nn.loss import NLLLoss as NLLLoss
from refengine.nn.module import Module as Module
from refengine.nn.parameter import Parameter as Parameter
