"""The network learns, its gradients are right in both modes, and its state survives: ``pytest --gradcheck``."""

from __future__ import annotations

import copy

import digits
import pytest

import gradcheck
import refengine as re

# Six epochs reach 0.967 to 0.982 with five seeds; guessing reaches 0.1.
GOOD = 0.95


@pytest.fixture(scope="module")
def trained() -> digits.Network:
    """A network after training."""
    pytest.importorskip("sklearn")
    re.manual_seed(0)
    network = digits.Network()
    means = digits.train(network, digits.load()[0])
    assert means[-1] < means[0] / 3
    return network


def test_digits_that_were_not_seen_are_read(trained: digits.Network) -> None:
    assert digits.accuracy(trained, digits.load()[1]) > GOOD


def test_reading_leaves_the_mode_and_the_statistics_alone(trained: digits.Network) -> None:
    before = {name: value.tolist() for name, value in trained.state_dict().items()}
    digits.accuracy(trained, digits.load()[1])
    assert trained.training
    assert {name: value.tolist() for name, value in trained.state_dict().items()} == before


def test_a_saved_state_reads_the_same(trained: digits.Network) -> None:
    other = digits.Network()
    other.load_state_dict(copy.deepcopy(trained.state_dict()))
    data = digits.load()[1]
    trained.eval()
    assert other.eval()(data.images).tolist() == trained(data.images).tolist()
    trained.train()


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_gradients_of_the_network_are_right(training: bool) -> None:
    re.manual_seed(1)
    network = digits.Network(width=2).train(training)
    images = re.randn(3, 1, 8, 8)  # no ties, as the dark corners of real pictures have
    report = gradcheck.check_module(network, images)
    assert report.ok, str(report)


def test_the_hand_written_backward_is_called() -> None:
    x = re.tensor([-1.0, 0.5, 3.0], requires_grad=True)
    digits.Swish.apply(x).sum().backward()
    assert x.grad is not None
