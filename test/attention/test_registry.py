# SPDX-FileCopyrightText: attention_fusion_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The registry: names, options, errors, the interface every mechanism keeps, and serialisation."""

import inspect

import pytest
import torch

from attention_fusion_ros.attention import MECHANISMS, Mechanism, build
from attention_fusion_ros.errors import ConfigurationError

B, C = 2, 32
MULTIPLES = {'cell_budget': 4, 'pose_correlation': 4}  # of these H and W are multiples
FEWER = {'cell_budget': dict(budget=5)}  # so that there is something to choose
CHANNELS = {'place_attention': 16}  # of the features, where they are not those of x
SQUARE = ('pose_correlation',)  # grids of as many rows as columns
UNIT = ('channel', 'spatial', 'paths', 'rows', 'columns', 'policy', 'time')  # weights that are within 0..1


def cases(*shapes: tuple[int, int]) -> list[tuple[str, tuple[int, int]]]:
    """Every mechanism with the shapes that it takes."""
    return [(name, (h, w)) for name in MECHANISMS for h, w in shapes
            if h % MULTIPLES.get(name, 1) == w % MULTIPLES.get(name, 1) == 0 and (h == w or name not in SQUARE)]


def extra_inputs(mechanism: Mechanism, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the mechanism needs besides x."""
    P = 3
    moves = torch.eye(3).repeat(x.shape[0], P, 1, 1)
    moves[:, :, 0, 2] = -torch.arange(1, P + 1.0)
    known = torch.cat([torch.tensor([1.0, -2.0, 0.1]), torch.eye(3).flatten(), torch.tensor([0.5])])
    given = {'query': torch.randn(x.shape[0], x.shape[1]), 'lidar': torch.randn_like(x),
             'coarse': torch.randn(x.shape[0], 16, x.shape[2] // 4, x.shape[3] // 4),
             'fine': torch.randn(x.shape[0], 16, x.shape[2] // 2, x.shape[3] // 2),
             'prior': known.expand(x.shape[0], -1),
             'allowed': (torch.rand(x.shape[0], 1, *x.shape[2:]) < 0.5).float(),
             'history': torch.randn(x.shape[0], P, *x.shape[1:]), 'moves': moves,
             'present': torch.tensor([[False, True, True], [True, True, True]])[:x.shape[0]]}
    return {name: given[name] for name in mechanism.extra_inputs}


@pytest.mark.parametrize(('name', 'shape'), cases((16, 16), (20, 12), (7, 33)))
def test_every_mechanism_returns_features_and_weights(name, shape):
    torch.manual_seed(0)
    mechanism = build(name, C)
    x = torch.randn(B, C, *shape, requires_grad=True)
    features, weights = mechanism(x, **extra_inputs(mechanism, x))
    assert features.shape == (B, CHANNELS.get(name, C), *shape)
    assert torch.isfinite(features).all()
    if 'channel' in weights:
        assert weights['channel'].shape == (B, C)
    if 'spatial' in weights:
        coarser = 4 if name == 'cell_budget' else 1
        assert weights['spatial'].shape == (B, 1, shape[0] // coarser, shape[1] // coarser)
    for key in set(UNIT) & set(weights):
        assert weights[key].min() >= 0 and weights[key].max() <= 1 + 1e-6, key
    features.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert name == 'none' or weights, 'attention is returned, not hidden'


@pytest.mark.parametrize('name', MECHANISMS)
def test_state_survives_a_strict_round_trip(name, tmp_path):
    torch.manual_seed(1)
    x = torch.randn(B, C, 12, 12 if name in SQUARE else 20)
    first, second = build(name, C), build(name, C)
    randomise(first)
    extras = extra_inputs(first, x)
    torch.save(first.state_dict(), tmp_path / 'state.pt')
    second.load_state_dict(torch.load(tmp_path / 'state.pt', weights_only=True), strict=True)
    first.eval(), second.eval()
    expected, expected_weights = first(x, **extras)
    found, found_weights = second(x, **extras)
    assert torch.equal(expected, found)
    assert all(torch.equal(expected_weights[key], found_weights[key]) for key in expected_weights)


@pytest.mark.parametrize('name', [name for name in MECHANISMS if name not in ('none', 'glimpse')])
def test_every_parameter_of_the_weighing_learns(name):
    torch.manual_seed(2)
    mechanism = build(name, C).eval()  # batch statistics would cancel the biases before them
    randomise(mechanism)
    x = torch.randn(B, C, 16, 16, requires_grad=True)  # so that one without parameters passes as well
    features, weights = mechanism(x, **extra_inputs(mechanism, x))
    loss = (features * torch.randn_like(features)).sum()
    for key in ('correction', 'correction_std', 'hint', 'coarse_logits', 'score', 'log_p', 'log_absent', 'fine_log_p'):
        if key in weights:
            loss = loss + (weights[key] * torch.randn_like(weights[key])).sum()
    loss.backward()
    idle = [n for n, p in mechanism.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-5]
    assert not idle


def test_none_passes_the_very_tensor():
    x = torch.randn(1, 3, 4, 5)
    features, weights = build('none', 3)(x)
    assert features is x and weights == {}


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigurationError) as error:
        build('cbma', 8)
    assert all(name in str(error.value) for name in MECHANISMS)


def test_unknown_option_lists_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"'se' has no option 'ratio'.*reduction, hidden, bias"):
        build('se', 8, ratio=4)
    with pytest.raises(ConfigurationError, match=r"'cbam_spatial' has no option 'size'.*kernel"):
        build('cbam', 8, spatial={'size': 3})
    with pytest.raises(ConfigurationError, match="'none' has no option 'x'. It has none"):
        build('none', 8, x=1)


@pytest.mark.parametrize(('name', 'options'), [
    ('se', {'reduction': 0}), ('se', {'reduction': 2.5}), ('se', {'hidden': 0}), ('eca', {'kernel': 4}),
    ('cbam_channel', {'pools': ()}), ('cbam_channel', {'pools': 'avg'}), ('cbam_channel', {'pools': ('avg', 'min')}),
    ('cbam_channel', {'pools': ('avg', 'avg')}), ('cbam_spatial', {'kernel': 6}), ('cbam_spatial', {'kernel': True}),
    ('cbam_spatial', {'order': ('mean', 'mean')}), ('cbam', {'order': 'both'}), ('cbam_block', {'stride': 0}),
    ('sk', {'groups': 5}), ('sk', {'paths': 1}), ('bam', {'combine': 'max'}), ('bam', {'norm': 'none'}),
    ('bam', {'dilation': 0}), ('sca', {'order': 'channel'}), ('stn', {'max_shift': 0.0}),
    ('stn', {'max_yaw': float('nan')}), ('temporal', {'extent': -1.0}), ('temporal', {'kernel': 2}),
    ('cell_budget', {'patch': 0}), ('cell_budget', {'budget': 0}), ('cell_budget', {'width': 0}),
    ('cell_budget', {'softness': 0.0}), ('cell_budget', {'noise': -0.1}), ('cell_budget', {'noise': float('nan')}),
    ('pose_correlation', {'width': 0}), ('pose_correlation', {'fine_width': 0}), ('pose_correlation', {'cells': 8}),
    ('pose_correlation', {'max_shift': 0.0}), ('pose_correlation', {'max_yaw': -1.0}),
    ('pose_correlation', {'yaw_step': float('inf')}), ('pose_correlation', {'extent': float('nan')}),
    ('place_attention', {'heads': 0}),
    ('glimpse', {'glimpses': 0}), ('dynamic_capacity', {'k': 0}), ('coordinate', {'minimum': 0}),
])
def test_options_that_cannot_work_are_refused(name, options):
    with pytest.raises(ConfigurationError, match=f"'{next(iter(options))}'"):
        build(name, 32, **options)


def test_channels_must_be_a_positive_number():
    for channels in (0, -3, 2.5, '8'):
        with pytest.raises(ConfigurationError, match='channels'):
            build('none', channels)


def test_options_from_yaml_are_lists():
    assert build('cbam_channel', 8, pools=['avg']).pools == ('avg',)
    assert build('cbam_spatial', 8, order=['max', 'mean']).order == ('max', 'mean')


def test_needs_are_the_arguments_of_forward():
    for name, cls in MECHANISMS.items():
        arguments = list(inspect.signature(cls.forward).parameters)[2:]
        assert arguments[:len(cls.extra_inputs)] == list(cls.extra_inputs), name
        required = [a for a in arguments if inspect.signature(cls.forward).parameters[a].default is inspect._empty]
        assert set(required) <= set(cls.extra_inputs), name


def randomise(module: torch.nn.Module) -> None:
    """Random parameters and statistics, so that nothing rests on a zero or an identity."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if name.endswith('running_var') else tensor.uniform_(-0.3, 0.3)


@pytest.mark.parametrize('name', list(MECHANISMS))
def test_device_and_dtype_are_chosen_when_a_mechanism_is_built(name):
    made = build(name, 32, device='meta', dtype=torch.float64)
    tensors = [*made.parameters(), *(b for b in made.buffers() if b.is_floating_point())]
    assert all(t.device.type == 'meta' and t.dtype is torch.float64 for t in tensors)


@pytest.mark.parametrize(('name', 'shape'), cases((16, 16), (20, 12)))
def test_reweighted_with_the_weights_of_forward_gives_its_features(name, shape):
    """So that an intervention with other weights differs from the network by these weights alone."""
    torch.manual_seed(3)
    mechanism = build(name, C, **FEWER.get(name, {})).eval()
    randomise(mechanism)
    x = torch.randn(B, C, *shape)
    extras = extra_inputs(mechanism, x)
    with torch.no_grad():
        features, weights = mechanism(x, **extras)
        again = mechanism.reweighted(x, weights, *extras.values())
        assert torch.allclose(again, features, rtol=1e-4, atol=1e-5)
        decisive = [key for key in mechanism.decisive if key in weights]
        assert bool(decisive) == (name != 'none')
        only_these = mechanism.reweighted(x, {key: weights[key] for key in decisive}, *extras.values())
        assert torch.equal(again, only_these)
        other = {key: weights[key].roll(1, dims=0) * 0.5 for key in decisive}
        assert name == 'none' or not torch.allclose(mechanism.reweighted(x, other, *extras.values()), features, 1e-3)
        even = mechanism.indifferent(weights)
        assert set(even) == set(decisive) and all(even[key].shape == weights[key].shape for key in even)
        assert torch.isfinite(mechanism.reweighted(x, even, *extras.values())).all()


def test_coarse_weights_count_for_all_cells_they_cover():
    x = torch.ones(1, 2, 8, 8)
    spatial = torch.tensor([[0.0, 1.0], [0.5, 0.0]])[None, None]
    found = build('cbam_spatial', 2).reweighted(x, {'spatial': spatial})
    assert torch.equal(found[0, 1], spatial[0, 0].repeat_interleave(4, 0).repeat_interleave(4, 1))
