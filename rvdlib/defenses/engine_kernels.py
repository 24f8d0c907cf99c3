"""The descent of iterative RVD on what can move, user by user, compiled.

Every victim that this file can serve encodes a user v as

    h_v = f(Σ_j x_vj E_j + P_v + c)        a_v = α_v + β_v

with f the sigmoid or nothing, and any of E, P, c, β absent (:class:`Encoder`). The vicinal loss

    (1/B) Σ_v Σ_i c_vi (s_vi − y_vi)² + (λ/k) ‖θ − θ̂‖²,        s_vi = a_v + h_v · w_i + b_i

has, with g_vi = (2/B) c_vi (s_vi − y_vi) and δ_v = f'(·) Σ_i g_vi w_i, the gradients

    w_i: Σ_v g_vi h_v    b_i: Σ_v g_vi    E_j: Σ_v x_vj δ_v    P_v: δ_v    c: Σ_v δ_v    β_v: Σ_i g_vi

and 2λ/k (θ − θ̂) more. A *row* is an item that moves, a *cell* a neighbour who counts for it. Cells
without weight have no gradient, and a parameter without gradient keeps its value and its moments
at zero under every optimiser here; so with ω = 0 the rows are the items that the vicinity rated.
With ω > 0 they are all items, and those that nobody rated share one set of cells.

One step reads and writes each row once: the gradient of a block of rows stays in the L1 cache until
the optimiser has used it, and the next step's latent vectors are summed from the encoder's rows as
soon as those have moved. Where the encoder is frozen rows do not depend on each other, and a block
makes all its steps before the next begins.
"""

import math
from typing import NamedTuple

import numba
import numpy as np

_BLOCK_NUMBERS = 1024  # parameters whose gradient is formed before they move

# Nothing is allocated in here, so nothing needs reference counts: without them (_nrt) a slice costs
# nothing. Not all of fastmath: NaN and infinity must stay what they are, to be seen.
_compiled = numba.njit(
    cache=True,
    nogil=True,
    _nrt=False,
    error_model="numpy",
    fastmath={"reassoc", "contract", "nsz"},
)


class Decoder(NamedTuple):
    """``factors`` (items, d) w and ``bias`` (items,) b."""

    factors: np.ndarray
    bias: np.ndarray


class Encoder(NamedTuple):
    """What h and a are made of; absent parts have no rows."""

    profile_factors: np.ndarray  # E (items, d) or (0, d)
    own_factors: np.ndarray  # P (users, d) or (0, d)
    hidden_bias: np.ndarray  # c (1, d) or (0, d)
    user_bias: np.ndarray  # β (users,) or (0,)
    constants: np.ndarray  # α (users,)
    sigmoid: bool


class Ratings(NamedTuple):
    """CSR of the training rows: ``values`` are targets, ``inputs`` what the encoder reads."""

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    inputs: np.ndarray  # x (ratings,), or (0,) where E is absent
    silence: np.ndarray  # y⁰ (users,)


class Descent(NamedTuple):
    """What a step does. ``rates`` (steps, 2): Adam's step size and 1/√(1 − β₂ᵗ), see engine.py."""

    decoder_moves: bool
    encoder_moves: bool
    adam: bool
    momentum: float
    rates: np.ndarray
    unobserved_weight: float
    pull: float  # 2λ/k


class Workspace(NamedTuple):
    """One thread's memory. First axis of what moves: value, first moment, second moment."""

    decoder_rows: np.ndarray  # (3, rows · d), in whole cache lines like all that moves
    decoder_bias: np.ndarray  # (3, rows)
    profile_rows: np.ndarray  # (3, rows · d)
    own_rows: np.ndarray  # (3, k · d)
    hidden_bias: np.ndarray  # (3, d)
    user_bias: np.ndarray  # (3, k)
    latent: np.ndarray  # (k + 1, d) h, u's last
    hidden: np.ndarray  # (k + 1, d) before f
    offset: np.ndarray  # (k,) a
    scratch: np.ndarray  # (d,)
    power: np.ndarray  # (d,) and the same memory as integers
    power_bits: np.ndarray
    latent_gradient: np.ndarray  # (k, d)
    offset_gradient: np.ndarray  # (k,)
    gradient: np.ndarray  # (a block of rows, or k, · d)
    bias_gradient: np.ndarray  # (rows of a block, d)
    row_of: np.ndarray  # (items,) −1 where an item has no row
    item_of: np.ndarray  # (rows,)
    first_cell: np.ndarray  # (rows + 1,)
    neighbour: np.ndarray  # (cells,)
    target: np.ndarray  # (cells,) y
    kind: np.ndarray  # (cells,) 0: a rating, 1: silence
    input: np.ndarray  # (cells,) x


def workspace(dtype, n_items: int, size: int, k: int, n_ratings: int, everything: bool):
    """Memory for vicinities of k users with up to ``n_ratings`` ratings.

    ``everything``: whether every item is a row (ω > 0).
    """
    rated = min(n_items, n_ratings)
    rows = n_items if everything else rated
    cells = (rated + 1) * k if everything else n_ratings
    block = max(_BLOCK_NUMBERS // size, 1)
    per_line = 64 // dtype.itemsize

    def numbers(*shape):
        """Zeros from the start of a cache line on, where vector registers are loaded fastest."""
        memory = np.zeros(math.prod(shape) + per_line, dtype=dtype)
        start = -memory.ctypes.data % 64 // memory.itemsize
        return memory[start : start + math.prod(shape)].reshape(shape)

    def moving(count):
        return numbers(3, -(-count // per_line) * per_line)

    def indices(count):
        return np.zeros(count, dtype=np.int32)

    power = numbers(size)
    return Workspace(
        decoder_rows=moving(rows * size),
        decoder_bias=moving(rows),
        profile_rows=moving(rated * size),
        own_rows=moving(k * size),
        hidden_bias=moving(size),
        user_bias=moving(k),
        latent=numbers(k + 1, size),
        hidden=numbers(k + 1, size),
        offset=numbers(k),
        scratch=numbers(size),
        power=power,
        power_bits=power.view(f"i{dtype.itemsize}"),
        latent_gradient=numbers(k, size),
        offset_gradient=numbers(k),
        gradient=numbers(max(block, k) * size),
        bias_gradient=numbers(max(block, k, size)),
        row_of=np.full(n_items, -1, dtype=np.int32),
        item_of=indices(rows),
        first_cell=indices(rated + 1),
        neighbour=indices(cells),
        target=numbers(cells),
        kind=np.zeros(cells, dtype=np.int8),
        input=numbers(cells),
    )


@_compiled
def fine_tune(
    users, vicinities, batches, decoder, encoder, ratings, descent, space,
    factors, offsets, n_moved, moved_items, moved_scores,
):  # fmt: skip
    """Fine-tune on each of ``vicinities`` (B, k), all of them distinct users, and score with that.

    Args:
        batches: (B or 1, steps or 1, 2, k) 2/B c of each neighbour's ratings, and silence, in each
            step.
        factors: (B, d), set to each user's h after the last step; ``offsets`` (B,) to her a.
        n_moved: (B,), set to the number of rows; ``moved_items`` and ``moved_scores`` (B, rows)
            to their items and the user's scores.
    """
    size = factors.shape[1]
    block = max(_BLOCK_NUMBERS // size, 1)
    steps = len(descent.rates)
    for b in range(len(users)):
        user, neighbours, schedule = users[b], vicinities[b], batches[b % len(batches)]
        k = len(neighbours)
        n_rated, n_rows = _lay_out(neighbours, descent.unobserved_weight, ratings, space)
        _load_encoder(neighbours, n_rated, encoder, space)
        _encode_vicinity(neighbours, n_rated, encoder, space)
        if descent.encoder_moves:
            _load_rows(0, n_rows, space.item_of, decoder.factors, space.decoder_rows)
            _load_bias(0, n_rows, space.item_of, decoder.bias, space.decoder_bias)
            for step in range(steps):
                weights = schedule[step % len(schedule)]
                space.latent_gradient[:] = 0
                space.offset_gradient[:] = 0
                for row in range(0, n_rows, block):
                    end = min(row + block, n_rows)
                    _step_decoder(row, end, row, n_rated, step, weights, decoder, descent, space)
                _step_encoder(neighbours, n_rated, block, step, encoder, descent, space)
        offsets[b] = _encode_user(user, neighbours, encoder, ratings, space)
        if descent.encoder_moves:
            _score_rows(0, n_rows, 0, offsets[b], space, moved_scores[b])
        else:
            for row in range(0, n_rows, block):
                end = min(row + block, n_rows)
                items = space.item_of[row:end]
                _load_rows(0, end - row, items, decoder.factors, space.decoder_rows)
                _load_bias(0, end - row, items, decoder.bias, space.decoder_bias)
                for step in range(steps):
                    weights = schedule[step % len(schedule)]
                    _step_decoder(row, end, 0, n_rated, step, weights, decoder, descent, space)
                _score_rows(row, end, 0, offsets[b], space, moved_scores[b])
        _copy(space.latent[k], factors[b])
        n_moved[b] = n_rows
        for row in range(n_rows):
            moved_items[b, row] = space.item_of[row]
        for row in range(n_rated):
            space.row_of[space.item_of[row]] = -1


@_compiled
def _lay_out(neighbours, omega, ratings, space):
    """Rows and cells of a vicinity: how many items its users rated, and how many rows there are."""
    k = len(neighbours)
    row_of, item_of, first_cell = space.row_of, space.item_of, space.first_cell
    n_rated = 0
    for o in range(k):
        for position in range(ratings.indptr[neighbours[o]], ratings.indptr[neighbours[o] + 1]):
            item = ratings.indices[position]
            if row_of[item] < 0:
                row_of[item] = n_rated
                item_of[n_rated] = item
                n_rated += 1
                first_cell[n_rated] = 0
            first_cell[row_of[item] + 1] += 1
    n_rows = n_rated
    first_cell[0] = 0
    if omega > 0:
        for row in range(n_rated + 1):
            first_cell[row] = row * k
            for o in range(k):
                cell = row * k + o
                space.neighbour[cell] = o
                space.target[cell] = ratings.silence[neighbours[o]]
                space.kind[cell] = 1
                space.input[cell] = 0
        for item in range(len(row_of)):
            if row_of[item] < 0:
                item_of[n_rows] = item
                n_rows += 1
    else:
        # Where the next cell of each row goes; in the end, where the row ends.
        for row in range(n_rated):
            first_cell[row + 1] += first_cell[row]
        for row in range(n_rated, 0, -1):
            first_cell[row] = first_cell[row - 1]
    for o in range(k):
        for position in range(ratings.indptr[neighbours[o]], ratings.indptr[neighbours[o] + 1]):
            row = row_of[ratings.indices[position]]
            if omega > 0:
                cell = row * k + o
            else:
                cell = first_cell[row + 1]
                first_cell[row + 1] += 1
            space.neighbour[cell] = o
            space.target[cell] = ratings.values[position]
            space.kind[cell] = 0
            space.input[cell] = ratings.inputs[position] if len(ratings.inputs) else 0
    return n_rated, n_rows


@_compiled
def _dot(x, y):
    total = x.dtype.type(0)
    for f in range(len(x)):
        total += x[f] * y[f]
    return total


@_compiled
def _add(weight, x, y):
    """y += weight · x"""
    for f in range(len(x)):
        y[f] += weight * x[f]


@_compiled
def _copy(x, y):
    for f in range(len(x)):
        y[f] = x[f]


@_compiled
def _at(row, size):
    """Where a row of ``size`` numbers lies in flat memory."""
    return slice(row * size, (row + 1) * size)


@_compiled
def _load_rows(start, count, sources, matrix, state):
    """Rows ``sources`` of ``matrix`` as values, from row ``start`` on, their moments zero."""
    size = matrix.shape[1]
    for row in range(count):
        _copy(matrix[sources[row]], state[0, _at(start + row, size)])
    state[1:, start * size : (start + count) * size] = 0


@_compiled
def _load_bias(start, count, sources, vector, state):
    for row in range(count):
        state[0, start + row] = vector[sources[row]]
    state[1:, start : start + count] = 0


@_compiled
def _load_encoder(neighbours, n_rated, encoder, space):
    if len(encoder.profile_factors):
        _load_rows(0, n_rated, space.item_of, encoder.profile_factors, space.profile_rows)
    if len(encoder.own_factors):
        _load_rows(0, len(neighbours), neighbours, encoder.own_factors, space.own_rows)
    if len(encoder.user_bias):
        _load_bias(0, len(neighbours), neighbours, encoder.user_bias, space.user_bias)
    if len(encoder.hidden_bias):
        _copy(encoder.hidden_bias[0], space.hidden_bias[0])
        space.hidden_bias[1:] = 0


@_compiled
def _encode_vicinity(neighbours, n_rated, encoder, space):
    k = len(neighbours)
    _begin_encoding(k, encoder, space)
    if len(encoder.profile_factors):
        _sum_profiles(0, n_rated, space)
    _activate(0, k, encoder, space)
    for o in range(k):
        space.offset[o] = encoder.constants[neighbours[o]]
        if len(encoder.user_bias):
            space.offset[o] += space.user_bias[0, o]


@_compiled
def _begin_encoding(k, encoder, space):
    """P_v + c, without the profiles."""
    one, size = space.hidden.dtype.type(1), space.hidden.shape[1]
    for o in range(k):
        hidden = space.hidden[o]
        hidden[:] = 0
        if len(encoder.own_factors):
            _add(one, space.own_rows[0, _at(o, size)], hidden)
        if len(encoder.hidden_bias):
            _add(one, space.hidden_bias[0, : len(hidden)], hidden)


@_compiled
def _sum_profiles(first_row, last_row, space):
    """Σ_j x_vj E_j over some rows."""
    size = space.hidden.shape[1]
    for row in range(first_row, last_row):
        values = space.profile_rows[0, _at(row, size)]
        for cell in range(space.first_cell[row], space.first_cell[row + 1]):
            x = space.input[cell]
            if x != 0:
                _add(x, values, space.hidden[space.neighbour[cell]])


@_compiled
def _activate(first, last, encoder, space):
    """h = f(·) of some rows of ``space.hidden``."""
    for o in range(first, last):
        if encoder.sigmoid:
            _sigmoid(space.hidden[o], space.latent[o], space.scratch, space.power, space.power_bits)
        else:
            _copy(space.hidden[o], space.latent[o])


@_compiled
def _sigmoid(x, out, rest, power, power_bits):
    """1 / (1 + e⁻ˣ) with e⁻ˣ = 2ⁿ eʳ, in loops that become vector instructions.

    eʳ, |r| ≤ ln 2 / 2, is its Taylor series, and 2ⁿ is written as the bits of its exponent. Beyond
    ±80 the result is 0 or 1 to any precision.
    """
    number, bits = x.dtype.type, power_bits.dtype.type
    one, half, most = number(1), number(0.5), number(80)
    log_2, per_log_2 = number(0.6931471805599453), number(1.4426950408889634)
    double = x.itemsize == 8
    bias, unit = number(1023 if double else 127), number(2.0**52 if double else 2.0**23)
    for f in range(len(x)):
        y = -x[f]
        y = most if y > most else y
        y = -most if y < -most else y
        n = np.floor(y * per_log_2 + half)
        rest[f] = y - n * log_2
        power_bits[f] = bits((n + bias) * unit)
        out[f] = one
    for degree in range(13, 0, -1):
        inverse = one / number(degree)
        for f in range(len(x)):
            out[f] = one + out[f] * rest[f] * inverse
    for f in range(len(x)):
        out[f] = one / (one + out[f] * power[f])


@_compiled
def _encode_user(user, neighbours, encoder, ratings, space):
    """u's h to the last row of ``space.latent``, from what has moved where it has; returns her a."""
    k, size = len(neighbours), space.hidden.shape[1]
    hidden, one = space.hidden[k], space.hidden.dtype.type(1)
    own = -1
    for o in range(k):
        if neighbours[o] == user:
            own = o
    hidden[:] = 0
    if len(encoder.own_factors):
        if own < 0:
            _add(one, encoder.own_factors[user], hidden)
        else:
            _add(one, space.own_rows[0, _at(own, size)], hidden)
    if len(encoder.hidden_bias):
        _add(one, space.hidden_bias[0, : len(hidden)], hidden)
    if len(encoder.profile_factors):
        for position in range(ratings.indptr[user], ratings.indptr[user + 1]):
            x, item = ratings.inputs[position], ratings.indices[position]
            row = space.row_of[item]
            if row < 0:
                _add(x, encoder.profile_factors[item], hidden)
            else:
                _add(x, space.profile_rows[0, _at(row, size)], hidden)
    _activate(k, k + 1, encoder, space)
    offset = encoder.constants[user]
    if len(encoder.user_bias):
        offset += encoder.user_bias[user] if own < 0 else space.user_bias[0, own]
    return offset


@_compiled
def _step_decoder(first_row, last_row, start, n_rated, step, weights, decoder, descent, space):
    """Gradients of some rows' cells; then the rows, kept from row ``start`` on, move."""
    size, k = decoder.factors.shape[1], weights.shape[1]
    number = space.gradient.dtype.type
    pull = number(descent.pull)
    for row in range(first_row, last_row):
        line, item = row - first_row, space.item_of[row]
        values, bias = (
            space.decoder_rows[0, _at(start + line, size)],
            space.decoder_bias[0, start + line],
        )
        gradient = space.gradient[_at(line, size)]
        bias_gradient = number(0)
        if pull != 0:
            _pull(pull, values, decoder.factors[item], gradient)
            bias_gradient = pull * (bias - decoder.bias[item])
        else:
            gradient[:] = 0
        first = space.first_cell[min(row, n_rated)]
        last = space.first_cell[row + 1] if row < n_rated else first + k
        for cell in range(first, last):
            o = space.neighbour[cell]
            weight = weights[space.kind[cell], o]
            if weight == 0:
                continue
            score = _dot(space.latent[o], values) + space.offset[o] + bias
            slope = weight * (score - space.target[cell])
            bias_gradient += slope
            if descent.encoder_moves:
                space.offset_gradient[o] += slope
                _add(slope, values, space.latent_gradient[o])
            if descent.decoder_moves:
                _add(slope, space.latent[o], gradient)
        space.bias_gradient[line] = bias_gradient
    if descent.decoder_moves:
        count = last_row - first_row
        _move(space.decoder_rows, start * size, count * size, space.gradient, step, descent)
        _move(space.decoder_bias, start, count, space.bias_gradient, step, descent)


@_compiled
def _pull(pull, values, trained, gradient):
    for f in range(len(values)):
        gradient[f] = pull * (values[f] - trained[f])


@_compiled
def _step_encoder(neighbours, n_rated, block, step, encoder, descent, space):
    """From the latent vectors' gradients to the encoder's; it moves; the vicinity is encoded."""
    k, size = space.latent_gradient.shape
    number = space.hidden.dtype.type
    one, pull = number(1), number(descent.pull)
    if encoder.sigmoid:
        for o in range(k):
            delta, latent = space.latent_gradient[o], space.latent[o]
            for f in range(size):
                delta[f] *= latent[f] * (one - latent[f])
    if len(encoder.own_factors):
        for o in range(k):
            gradient, values = space.gradient[_at(o, size)], space.own_rows[0, _at(o, size)]
            _pull(pull, values, encoder.own_factors[neighbours[o]], gradient)
            _add(one, space.latent_gradient[o], gradient)
        _move(space.own_rows, 0, k * size, space.gradient, step, descent)
    if len(encoder.user_bias):
        for o in range(k):
            away = space.user_bias[0, o] - encoder.user_bias[neighbours[o]]
            space.bias_gradient[o] = space.offset_gradient[o] + pull * away
        _move(space.user_bias, 0, k, space.bias_gradient, step, descent)
    if len(encoder.hidden_bias):
        gradient = space.gradient[_at(0, size)]
        _pull(pull, space.hidden_bias[0, :size], encoder.hidden_bias[0], gradient)
        for o in range(k):
            _add(one, space.latent_gradient[o], gradient)
        _move(space.hidden_bias, 0, size, space.gradient, step, descent)
    _begin_encoding(k, encoder, space)
    if len(encoder.profile_factors):
        for row in range(0, n_rated, block):
            end = min(row + block, n_rated)
            _step_profiles(row, end, step, encoder, descent, space)
            _sum_profiles(row, end, space)
    _activate(0, k, encoder, space)
    for o in range(k):
        space.offset[o] = encoder.constants[neighbours[o]]
        if len(encoder.user_bias):
            space.offset[o] += space.user_bias[0, o]


@_compiled
def _step_profiles(first_row, last_row, step, encoder, descent, space):
    size = space.latent_gradient.shape[1]
    pull = space.gradient.dtype.type(descent.pull)
    for row in range(first_row, last_row):
        gradient = space.gradient[_at(row - first_row, size)]
        if pull != 0:
            values, trained = space.profile_rows[0, _at(row, size)], encoder.profile_factors
            _pull(pull, values, trained[space.item_of[row]], gradient)
        else:
            gradient[:] = 0
        for cell in range(space.first_cell[row], space.first_cell[row + 1]):
            x = space.input[cell]
            if x != 0:
                _add(x, space.latent_gradient[space.neighbour[cell]], gradient)
    count = last_row - first_row
    _move(space.profile_rows, first_row * size, count * size, space.gradient, step, descent)


@_compiled
def _move(state, start, count, gradients, step, descent):
    """One step of the optimiser, as ``torch.optim`` makes it."""
    number = gradients.dtype.type
    rate = number(descent.rates[step, 0])
    gradient, values = gradients[:count], state[0, start : start + count]
    first, second = state[1, start : start + count], state[2, start : start + count]
    if descent.adam:
        scale, epsilon = number(descent.rates[step, 1]), number(1e-8)
        new_1, new_2 = number(0.1), number(0.001)
        for n in range(count):
            g = gradient[n]
            m = first[n] + new_1 * (g - first[n])
            v = second[n] + new_2 * (g * g - second[n])
            first[n], second[n] = m, v
            values[n] -= rate * m / (scale * np.sqrt(v) + epsilon)
    elif descent.momentum > 0:
        momentum = number(descent.momentum)
        for n in range(count):
            first[n] = momentum * first[n] + gradient[n]
            values[n] -= rate * first[n]
    else:
        for n in range(count):
            values[n] -= rate * gradient[n]


@_compiled
def _score_rows(first_row, last_row, start, offset, space, scores):
    """u's scores of some rows, kept from row ``start`` on."""
    latent, size = space.latent[-1], space.latent.shape[1]
    for row in range(first_row, last_row):
        at = start + row - first_row
        score = _dot(latent, space.decoder_rows[0, _at(at, size)])
        scores[row] = score + offset + space.decoder_bias[0, at]


@_compiled
def finish(bias, offsets, n_moved, moved_items, moved_scores, stars, scores):
    """From products h · w (B, items) to scores in ``stars``, the rows that moved put in place."""
    n_items = scores.shape[1]
    for b in range(len(scores)):
        for item in range(n_items):
            scores[b, item] = (scores[b, item] + offsets[b] + bias[item]) * stars
        for row in range(n_moved[b]):
            scores[b, moved_items[b, row]] = moved_scores[b, row] * stars
