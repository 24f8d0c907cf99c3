"""The descent of iterative RVD on what can move, user by user, compiled.

The vicinal loss over the k neighbours is

    (1/k) Σ_v Σ_i c_vi (s_vi − y_vi)² + Σ_θ D_θ θ² + (λ/k) ‖θ − θ̂‖²,      s_vi = a_v + h_v · w_i + b_i

for every encoder h_v = f(Σ_j x_vj E_j + P_v + c), a_v = α_v + β_v. With the slopes
g_vi = (2/k) c_vi (s_vi − y_vi) and δ_v = f'(·) Σ_i g_vi w_i its gradients are

    w_i: Σ_v g_vi h_v    b_i: Σ_v g_vi    E_j: Σ_v x_vj δ_v    P_v: δ_v    c: Σ_v δ_v    β_v: Σ_i g_vi

and 2 D θ + 2λ/k (θ − θ̂) more; a decoupled regulariser is left out of the gradient and takes
2 η D θ from θ itself before the step. The weights D are those of :mod:`rvdlib.models.loss`. Where no
c_vi counts, a parameter's steps depend on its own trained value alone: they are made once for all
users (:meth:`rvdlib.defenses.RVD.decayed`) and stand in what is called *idle* here. So with ω = 0
the rows are the items that the vicinity rated, and a step costs what its ratings cost.

With ω > 0 the rows are all items, and an item has a slope for every neighbour, whether he rated it or
not. As if nobody had rated anything, with e_v = a_v − y⁰_v, the gradients need no scores, but sums
alone (cf. Hu et al. 2008), times 2ω/k:

    w_i: M w_i + b_i m + Σ_v e_v h_v      b_i: m · w_i + k b_i + Σ_v e_v      M = Σ_v h_v h_vᵀ, m = Σ_v h_v
    h_v: G h_v + e_v n + Σ_i b_i w_i      a_v: n · h_v + Σ_i (e_v + b_i)      G = Σ_i w_i w_iᵀ, n = Σ_i w_i

and what a rating's slope differs by from that is added. An item then costs d multiples of a vector,
where its k neighbours would take 2k, a score and a gradient each: with 2k ≤ d they are heard one by one.

What makes it fast besides. Sums over cells take four at a time. The gradient of a block of rows
stays in the L1 cache until the rows have moved. With a frozen encoder rows do not depend on each
other, and a block makes all its steps before the next begins. All is in one file, because numba's
cache does not see changes in others.

A *row* is an item whose decoder or encoder row can move, numbered by when it is met, the rated ones
first; a *cell* is a rating of the vicinity.
"""

from typing import Any, NamedTuple

import numba
import numpy as np

_USUAL_SIZE = 64  # d of a victim with the default embedding_size

_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    # Nothing is allocated in here. Without reference counts a slice costs nothing.
    "_nrt": False,
    "error_model": "numpy",
}
# Not all of fastmath: NaN and infinity must stay what they are, to be seen.
_FASTMATH = {"reassoc", "contract", "nsz"}
_compiled = numba.njit(fastmath=_FASTMATH, **_OPTIONS)
# A call with five arrays takes longer than what it computes.
_inlined = numba.njit(inline="always", fastmath=_FASTMATH, **_OPTIONS)


class Decoder(NamedTuple):
    """s_vi = a_v + h_v · w_i + b_i."""

    factors: np.ndarray  # w (items, d)
    bias: np.ndarray  # b (items,)


class Encoder(NamedTuple):
    """h_v = f(Σ_j x_vj E_j + P_v + c), a_v = α_v + β_v. Absent parts have no rows."""

    profile_factors: np.ndarray  # E (items, d) or (0, d)
    own_factors: np.ndarray  # P (users, d) or (0, d)
    hidden_bias: np.ndarray  # c (1, d) or (0, d)
    user_bias: np.ndarray  # β (users,) or (0,)
    constants: np.ndarray  # α (users,)
    sigmoid: bool  # whether f is; else the identity


class Ratings(NamedTuple):
    """The training rows, CSR."""

    indptr: np.ndarray
    indices: np.ndarray
    targets: np.ndarray  # y, (ratings,)
    inputs: np.ndarray  # x, (ratings,), or (0,) where E is absent
    silence: np.ndarray  # y⁰ (users,)


class Descent(NamedTuple):
    """What a step does."""

    encoder_moves: bool
    bias_moves: bool  # b
    adam: bool
    rates: np.ndarray  # (steps, 2) Adam's η / (1 − β₁ᵗ) and (1 − β₂ᵗ)^-1/2, or η and anything
    learning_rate: float  # η
    rated_weight: float  # 2/k
    silent_weight: float  # 2ω/k; above 0, every item is a row
    pull: float  # 2λ/k
    decay: float  # 2D of every parameter
    cell_decay: float  # and more for each cell of a row: 2 reg/k
    silent_users: float  # cells that an item's row has without raters: ωk
    silent_items: float  # and a user's: ω · items
    decoupled: bool  # whether the regulariser stays out of the gradient


class Moving(NamedTuple):
    """What moves, row after row, in three lines: values, first and second moments."""

    decoder_rows: np.ndarray  # (3, rows · d), or a block of rows where each makes its own way
    decoder_bias: np.ndarray  # (3, rows), or of the block
    profile_rows: np.ndarray  # (3, rated rows · d)
    own_rows: np.ndarray  # (3, k · d)
    hidden_bias: np.ndarray  # (3, d)
    user_bias: np.ndarray  # (3, k)


class Vicinity(NamedTuple):
    """The neighbours; the last of the k + 1 is the served user."""

    latent: np.ndarray  # h, ((k + 1) · d,)
    hidden: np.ndarray  # f's argument, ((k + 1) · d,)
    offset: np.ndarray  # a (k,)
    silence: np.ndarray  # y⁰ (k,)
    latent_gradient: np.ndarray  # (k · d,)
    offset_gradient: np.ndarray  # (k,)
    rest: np.ndarray  # the sigmoid's, ((k + 1) · d,)
    power: np.ndarray  # the same
    power_bits: np.ndarray  # the memory of ``power`` as integers


class Cells(NamedTuple):
    """Which rows there are, and their ratings: neighbour by neighbour, with an index row by row."""

    row_of: np.ndarray  # (items,), −1 where an item has no row
    item_of: np.ndarray  # (rows,)
    first: np.ndarray  # of each neighbour (k + 1,)
    row: np.ndarray  # (cells,)
    input: np.ndarray  # x (cells,)
    first_of_row: np.ndarray  # (rated rows + 1,)
    cell_of_row: np.ndarray  # (cells,)
    neighbour_of_row: np.ndarray  # (cells,)
    target: np.ndarray  # y (cells,), row by row


class Silence(NamedTuple):
    """What all cells add when they are taken to be silent. Sums are :func:`_add_sums`'s."""

    everyone: np.ndarray  # 0, 1, ... (k,)
    surplus: np.ndarray  # a − y⁰ (k,)
    of_users: np.ndarray  # of h and a − y⁰ (d + 3, d)
    of_items: np.ndarray  # of w and b (d + 3, d)


class Gradients(NamedTuple):
    """On their way to the optimiser."""

    rows: np.ndarray  # of a block of rows, or of k
    numbers: np.ndarray  # of a block's biases, or of k


class Workspace(NamedTuple):
    """One thread's memory."""

    moving: Moving
    vicinity: Vicinity
    cells: Cells
    silence: Silence
    gradients: Gradients


@_compiled
def fine_tune(
    users, vicinities, decoder, encoder, idle, ratings, descent, block, space,
    factors, offsets, n_moved, moved_items, moved_scores,
):  # fmt: skip
    """Fine-tune on each of ``vicinities`` (B, k), k distinct users each, and score with that.

    Args:
        idle: the encoder where no rating of the vicinity reaches, after the last step.
        block: rows whose gradient is formed before they move.
        factors: (B, d), set to each user's h after the last step; ``offsets`` (B,) to the user's a.
        n_moved: (B,), set to the number of rows; ``moved_items`` and ``moved_scores`` (B, rows)
            to their items and the user's scores.
    """
    moving, vicinity, cells = space.moving, space.vicinity, space.cells
    steps, size, k = len(descent.rates), factors.shape[1], vicinities.shape[1]
    latent, everywhere = vicinity.latent[_at(k, size)], descent.silent_weight > 0
    for b in range(len(users)):
        user, neighbours = users[b], vicinities[b]
        n_rated, n_rows = _lay_out(neighbours, ratings, everywhere, cells)
        _load_encoder(neighbours, n_rated, encoder, cells.item_of, moving)
        for o in range(k):
            vicinity.silence[o] = ratings.silence[neighbours[o]]
        at_once = max(n_rows, 1) if descent.encoder_moves else block
        for begin in range(0, max(n_rows, 1), at_once):
            end = min(begin + at_once, n_rows)
            _load_decoder(cells.item_of[begin:end], decoder, moving)
            for step in range(steps):
                if descent.encoder_moves or begin == step == 0:
                    _encode(neighbours, encoder, moving, cells, vicinity)
                    if everywhere and _in_sums(k, size):
                        _sum_users(vicinity, space.silence)
                if descent.encoder_moves:
                    _clear(vicinity.latent_gradient)
                    _clear(vicinity.offset_gradient)
                for row in range(begin, end, block):
                    last, start = min(row + block, end), row - begin
                    _step_rows(row, last, start, n_rated, step, decoder, descent, space)
                if descent.encoder_moves:
                    if everywhere and _in_sums(k, size):
                        _hear_items(n_rows, vicinity, space.silence, descent)
                    _step_encoder(neighbours, n_rated, block, step, encoder, descent, space)
            if begin == 0:
                offsets[b] = _encode_user(
                    user, neighbours, idle, ratings, moving, cells.row_of, vicinity
                )
            rows, bias = moving.decoder_rows[0], moving.decoder_bias[0, : end - begin]
            _score_rows(latent, offsets[b], rows, bias, moved_scores[b, begin:end])
        _copy(latent, factors[b])
        n_moved[b] = n_rows
        for row in range(n_rows):
            moved_items[b, row] = cells.item_of[row]
            cells.row_of[cells.item_of[row]] = -1


@_compiled
def finish(bias, offsets, n_moved, moved_items, moved_scores, stars, scores):
    """From products h · w (B, items) to scores in ``stars``, the rows put in place; b is idle's."""
    for b in range(len(scores)):
        line = scores[b]
        for item in range(len(line)):
            line[item] = (line[item] + offsets[b] + bias[item]) * stars
        for row in range(n_moved[b]):
            line[moved_items[b, row]] = moved_scores[b, row] * stars


@_compiled
def _lay_out(neighbours, ratings, everywhere, cells):
    """Number the rows and list the cells: how many items the vicinity rated, and how many rows."""
    row_of, item_of, ends = cells.row_of, cells.item_of, cells.first_of_row
    n_rated = n_cells = 0
    for o in range(len(neighbours)):
        v = neighbours[o]
        cells.first[o] = n_cells
        for position in range(ratings.indptr[v], ratings.indptr[v + 1]):
            item = ratings.indices[position]
            row = row_of[item]
            if row < 0:
                row = row_of[item] = n_rated
                item_of[row] = item
                n_rated += 1
                ends[n_rated] = 0
            ends[row + 1] += 1
            cells.row[n_cells] = row
            if len(ratings.inputs):
                cells.input[n_cells] = ratings.inputs[position]
            n_cells += 1
    cells.first[len(neighbours)] = n_cells
    # By counting: where each row's next cell goes, and in the end where the row ends.
    total = 0
    for row in range(n_rated):
        count, ends[row + 1] = ends[row + 1], total
        total += count
    ends[0] = 0
    for o in range(len(neighbours)):
        for cell in range(cells.first[o], cells.first[o + 1]):
            place = ends[cells.row[cell] + 1]
            position = ratings.indptr[neighbours[o]] + cell - cells.first[o]
            cells.cell_of_row[place], cells.neighbour_of_row[place] = cell, o
            cells.target[place] = ratings.targets[position]
            ends[cells.row[cell] + 1] = place + 1
    n_rows = n_rated
    if everywhere:
        for item in range(len(row_of)):
            if row_of[item] < 0:
                item_of[n_rows] = item
                n_rows += 1
    return n_rated, n_rows


# Loops over vectors, which the compiler turns into vector instructions, twice as fast where it knows
# their length. Four at a time, a vector is loaded and stored once for four. What is left over follows one
# by one, or is filled up with weights of zero.


@_inlined
def _dots(x, y0, y1, y2, y3):
    """x · y0, x · y1, x · y2, x · y3"""
    t0 = t1 = t2 = t3 = x.dtype.type(0)
    if len(x) == _USUAL_SIZE:
        for f in range(_USUAL_SIZE):
            t0 += x[f] * y0[f]
            t1 += x[f] * y1[f]
            t2 += x[f] * y2[f]
            t3 += x[f] * y3[f]
    else:
        for f in range(len(x)):
            t0 += x[f] * y0[f]
            t1 += x[f] * y1[f]
            t2 += x[f] * y2[f]
            t3 += x[f] * y3[f]
    return t0, t1, t2, t3


@_inlined
def _dot(x, y):
    """x · y"""
    total = x.dtype.type(0)
    if len(x) == _USUAL_SIZE:
        for f in range(_USUAL_SIZE):
            total += x[f] * y[f]
    else:
        for f in range(len(x)):
            total += x[f] * y[f]
    return total


@_inlined
def _add_four(w0, x0, w1, x1, w2, x2, w3, x3, y):
    """y += w0 · x0 + w1 · x1 + w2 · x2 + w3 · x3"""
    if len(y) == _USUAL_SIZE:
        for f in range(_USUAL_SIZE):
            y[f] += w0 * x0[f] + w1 * x1[f] + w2 * x2[f] + w3 * x3[f]
    else:
        for f in range(len(y)):
            y[f] += w0 * x0[f] + w1 * x1[f] + w2 * x2[f] + w3 * x3[f]


@_inlined
def _add(weight, x, y):
    """y += weight · x"""
    if len(y) == _USUAL_SIZE:
        for f in range(_USUAL_SIZE):
            y[f] += weight * x[f]
    else:
        for f in range(len(y)):
            y[f] += weight * x[f]


@_inlined
def _set(weight, x, y):
    """y = weight · x"""
    if len(y) == _USUAL_SIZE:
        for f in range(_USUAL_SIZE):
            y[f] = weight * x[f]
    else:
        for f in range(len(y)):
            y[f] = weight * x[f]


@_inlined
def _copy(x, y):
    for f in range(len(x)):
        y[f] = x[f]


@_inlined
def _clear(x):
    for f in range(len(x)):
        x[f] = 0


@_inlined
def _hold(pull, decay, keep, values, trained, gradient):
    """gradient = pull · (values − trained) + decay · values; values *= keep"""
    for f in range(len(values)):
        gradient[f] = pull * (values[f] - trained[f]) + decay * values[f]
        values[f] *= keep


@_inlined
def _decay(n_cells, descent, like):
    """What a row of so many cells adds of itself to its gradient, and what it keeps of itself."""
    number = like.dtype.type
    decay = descent.decay + descent.cell_decay * n_cells
    if descent.decoupled:
        return number(0), number(1 - descent.learning_rate * decay)
    return number(decay), number(1)


@_inlined
def _at(row, size):
    """Where a row of ``size`` numbers lies in flat memory."""
    return slice(row * size, (row + 1) * size)


# What moves is copied, its moments at zero.


@_compiled
def _load(sources, matrix, state):
    """Rows ``sources`` of ``matrix``."""
    size = matrix.shape[1]
    for row in range(len(sources)):
        _copy(matrix[sources[row]], state[0, _at(row, size)])
    _clear(state[1, : len(sources) * size])
    _clear(state[2, : len(sources) * size])


@_compiled
def _load_numbers(sources, vector, state):
    for row in range(len(sources)):
        state[0, row] = vector[sources[row]]
    _clear(state[1, : len(sources)])
    _clear(state[2, : len(sources)])


@_compiled
def _load_decoder(items, decoder, moving):
    _load(items, decoder.factors, moving.decoder_rows)
    _load_numbers(items, decoder.bias, moving.decoder_bias)


@_compiled
def _load_encoder(neighbours, n_rated, encoder, item_of, moving):
    if len(encoder.profile_factors):
        _load(item_of[:n_rated], encoder.profile_factors, moving.profile_rows)
    if len(encoder.own_factors):
        _load(neighbours, encoder.own_factors, moving.own_rows)
    if len(encoder.user_bias):
        _load_numbers(neighbours, encoder.user_bias, moving.user_bias)
    if len(encoder.hidden_bias):
        _copy(encoder.hidden_bias[0], moving.hidden_bias[0])
        _clear(moving.hidden_bias[1])
        _clear(moving.hidden_bias[2])


# The encoder.


@_compiled
def _encode(neighbours, encoder, moving, cells, vicinity):
    """h and a of the vicinity, from what has moved."""
    k = len(neighbours)
    size = len(vicinity.hidden) // (k + 1)
    rows, row, x = moving.profile_rows[0], cells.row, cells.input
    zero, one = vicinity.hidden.dtype.type(0), vicinity.hidden.dtype.type(1)
    for o in range(k):
        hidden = vicinity.hidden[_at(o, size)]
        _clear(hidden)
        if len(encoder.own_factors):
            _add(one, moving.own_rows[0, _at(o, size)], hidden)
        if len(encoder.hidden_bias):
            _add(one, moving.hidden_bias[0, :size], hidden)
        if len(encoder.profile_factors):
            last = cells.first[o + 1] - 1
            for c in range(cells.first[o], last + 1, 4):
                c1, c2, c3 = min(c + 1, last), min(c + 2, last), min(c + 3, last)
                _add_four(
                    x[c], rows[_at(row[c], size)],
                    x[c1] if c + 1 <= last else zero, rows[_at(row[c1], size)],
                    x[c2] if c + 2 <= last else zero, rows[_at(row[c2], size)],
                    x[c3] if c + 3 <= last else zero, rows[_at(row[c3], size)],
                    hidden,
                )  # fmt: skip
        vicinity.offset[o] = encoder.constants[neighbours[o]]
        if len(encoder.user_bias):
            vicinity.offset[o] += moving.user_bias[0, o]
    _activate(0, k * size, encoder.sigmoid, vicinity)


@_compiled
def _encode_user(user, neighbours, encoder, ratings, moving, row_of, vicinity):
    """u's h to the last row of ``vicinity.latent``, from what has moved; returns u's a."""
    k = len(neighbours)
    size = len(vicinity.hidden) // (k + 1)
    hidden, one = vicinity.hidden[_at(k, size)], vicinity.hidden.dtype.type(1)
    own = -1
    for o in range(k):
        if neighbours[o] == user:
            own = o
    _clear(hidden)
    if len(encoder.own_factors):
        trained = encoder.own_factors[user]
        _add(one, trained if own < 0 else moving.own_rows[0, _at(own, size)], hidden)
    if len(encoder.hidden_bias):
        _add(one, moving.hidden_bias[0, :size], hidden)
    if len(encoder.profile_factors):
        for position in range(ratings.indptr[user], ratings.indptr[user + 1]):
            item = ratings.indices[position]
            row, trained = row_of[item], encoder.profile_factors[item]
            values = trained if row < 0 else moving.profile_rows[0, _at(row, size)]
            _add(ratings.inputs[position], values, hidden)
    _activate(k * size, (k + 1) * size, encoder.sigmoid, vicinity)
    offset = encoder.constants[user]
    if len(encoder.user_bias):
        offset += encoder.user_bias[user] if own < 0 else moving.user_bias[0, own]
    return offset


@_compiled
def _activate(first, last, sigmoid, vicinity):
    """h = f(·) for a part of the vicinity's memory."""
    x, out = vicinity.hidden[first:last], vicinity.latent[first:last]
    if sigmoid:
        rest, power = vicinity.rest[first:last], vicinity.power[first:last]
        _sigmoid(x, out, rest, power, vicinity.power_bits[first:last])
    else:
        _copy(x, out)


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
    for degree in range(13 if double else 7, 0, -1):
        inverse = one / number(degree)
        for f in range(len(x)):
            out[f] = one + out[f] * rest[f] * inverse
    for f in range(len(x)):
        out[f] = one / (one + out[f] * power[f])


@_compiled
def _step_encoder(neighbours, n_rated, block, step, encoder, descent, space):
    """From the gradients of h and a to the encoder's; it moves."""
    moving, vicinity, cells = space.moving, space.vicinity, space.cells
    gradients, numbers = space.gradients.rows, space.gradients.numbers
    k, delta, latent = len(neighbours), vicinity.latent_gradient, vicinity.latent
    size = len(delta) // k
    one, pull = delta.dtype.type(1), delta.dtype.type(descent.pull)
    if encoder.sigmoid:
        for f in range(k * size):
            delta[f] *= latent[f] * (one - latent[f])
    if len(encoder.own_factors):
        for o in range(k):
            values, trained = moving.own_rows[0, _at(o, size)], encoder.own_factors[neighbours[o]]
            n_cells = cells.first[o + 1] - cells.first[o] + descent.silent_items
            decay, keep = _decay(n_cells, descent, delta)
            _hold(pull, decay, keep, values, trained, gradients[_at(o, size)])
        _add(one, delta, gradients[: k * size])
        _move(moving.own_rows, 0, k * size, gradients, step, descent)
    if len(encoder.user_bias):
        for o in range(k):
            value, trained_bias = moving.user_bias[0, o], encoder.user_bias[neighbours[o]]
            n_cells = cells.first[o + 1] - cells.first[o] + descent.silent_items
            decay, keep = _decay(n_cells, descent, delta)
            held = pull * (value - trained_bias) + decay * value
            numbers[o] = vicinity.offset_gradient[o] + held
            moving.user_bias[0, o] = keep * value
        _move(moving.user_bias, 0, k, numbers, step, descent)
    if len(encoder.hidden_bias):
        gradient = gradients[:size]
        decay, keep = _decay(0, descent, delta)
        _hold(pull, decay, keep, moving.hidden_bias[0, :size], encoder.hidden_bias[0], gradient)
        for o in range(k):
            _add(one, delta[_at(o, size)], gradient)
        _move(moving.hidden_bias, 0, size, gradients, step, descent)
    if len(encoder.profile_factors):
        values, trained = moving.profile_rows[0], encoder.profile_factors
        for first in range(0, n_rated, block):
            last = min(first + block, n_rated)
            _sum_rows(first, last, values, trained, cells.input, delta, gradients, cells, descent)
            _move(
                moving.profile_rows, first * size, (last - first) * size, gradients, step, descent
            )


# The decoder.


@_compiled
def _sum_rows(first, last, values, trained, weights, vectors, gradients, cells, descent):
    """Gradients of a block of rated rows: pull and decay, and Σ over cells of weight · vector."""
    size, pull = trained.shape[1], gradients.dtype.type(descent.pull)
    for row in range(first, last):
        gradient = gradients[_at(row - first, size)]
        place, end = cells.first_of_row[row], cells.first_of_row[row + 1]
        decay, keep = _decay(end - place + descent.silent_users, descent, gradients)
        if pull != 0 or decay != 0 or keep != 1:
            own = values[_at(row, size)]
            _hold(pull, decay, keep, own, trained[cells.item_of[row]], gradient)
        else:  # clearing and adding would take longer
            weight, o = weights[cells.cell_of_row[place]], cells.neighbour_of_row[place]
            _set(weight, vectors[_at(o, size)], gradient)
            place += 1
        for rest in range(place, end):
            weight, o = weights[cells.cell_of_row[rest]], cells.neighbour_of_row[rest]
            _add(weight, vectors[_at(o, size)], gradient)


@_compiled
def _step_rows(first, last, start, n_rated, step, decoder, descent, space):
    """One step of some rows, kept from row ``start`` on; what they add to the gradients of h and a."""
    moving, vicinity, cells = space.moving, space.vicinity, space.cells
    silence, gradients, numbers = space.silence, space.gradients.rows, space.gradients.numbers
    size, count, k = decoder.factors.shape[1], last - first, len(vicinity.offset)
    number, in_sums = gradients.dtype.type, _in_sums(k, size)
    rated, silent = number(descent.rated_weight), number(descent.silent_weight)
    pull, one, zero = number(descent.pull), number(1), number(0)
    rows = moving.decoder_rows[0, start * size : (start + count) * size]
    bias = moving.decoder_bias[0, start : start + count]
    if silent != 0 and in_sums and descent.encoder_moves:
        _add_sums(rows, bias, silence.of_items)
    for n in range(count):
        row, item, begin, end = first + n, cells.item_of[first + n], 0, 0
        if row < n_rated:
            begin, end = cells.first_of_row[row], cells.first_of_row[row + 1]
        values, gradient = rows[_at(n, size)], gradients[_at(n, size)]
        decay, keep = _decay(end - begin + descent.silent_users, descent, gradients)
        _hold(pull, decay, one, values, decoder.factors[item], gradient)
        numbers[n] = pull * (bias[n] - decoder.bias[item]) + decay * bias[n]
        numbers[n] += _hear(
            begin, end, cells.neighbour_of_row, cells.target, rated, silent,
            values, bias[n], gradient, descent.encoder_moves, vicinity,
        )  # fmt: skip
        if silent != 0 and in_sums:
            numbers[n] += _product(silence.of_users, number(k), silent, values, bias[n], gradient)
        elif silent != 0:
            numbers[n] += _hear(
                0, k, silence.everyone, vicinity.silence, silent, zero,
                values, bias[n], gradient, descent.encoder_moves, vicinity,
            )  # fmt: skip
        if keep != one:
            _set(keep, values, values)
            if descent.bias_moves:
                bias[n] *= keep
    _move(moving.decoder_rows, start * size, count * size, gradients, step, descent)
    if descent.bias_moves:
        _move(moving.decoder_bias, start, count, numbers, step, descent)


@_inlined
def _hear(
    begin, end, neighbours, targets, weight, silent, values, bias, gradient, encoder_moves, vicinity
):
    """What some cells of a row add to its gradient, and to those of h and a; returns Σ g.

    g is ``weight`` times the distance to the target, less ``silent`` times that to silence.
    """
    size = len(values)
    latent, offset, silence = vicinity.latent, vicinity.offset, vicinity.silence
    total = values.dtype.type(0)
    c = begin
    while c + 4 <= end:
        o, o1, o2, o3 = neighbours[c], neighbours[c + 1], neighbours[c + 2], neighbours[c + 3]
        h, h1 = latent[_at(o, size)], latent[_at(o1, size)]
        h2, h3 = latent[_at(o2, size)], latent[_at(o3, size)]
        t, t1, t2, t3 = _dots(values, h, h1, h2, h3)
        t, t1 = t + bias + offset[o], t1 + bias + offset[o1]
        t2, t3 = t2 + bias + offset[o2], t3 + bias + offset[o3]
        g = weight * (t - targets[c]) - silent * (t - silence[o])
        g1 = weight * (t1 - targets[c + 1]) - silent * (t1 - silence[o1])
        g2 = weight * (t2 - targets[c + 2]) - silent * (t2 - silence[o2])
        g3 = weight * (t3 - targets[c + 3]) - silent * (t3 - silence[o3])
        _add_four(g, h, g1, h1, g2, h2, g3, h3, gradient)
        total += g + g1 + g2 + g3
        if encoder_moves:
            _add(g, values, vicinity.latent_gradient[_at(o, size)])
            _add(g1, values, vicinity.latent_gradient[_at(o1, size)])
            _add(g2, values, vicinity.latent_gradient[_at(o2, size)])
            _add(g3, values, vicinity.latent_gradient[_at(o3, size)])
            vicinity.offset_gradient[o] += g
            vicinity.offset_gradient[o1] += g1
            vicinity.offset_gradient[o2] += g2
            vicinity.offset_gradient[o3] += g3
        c += 4
    while c < end:
        o = neighbours[c]
        h = latent[_at(o, size)]
        t = _dot(values, h) + bias + offset[o]
        g = weight * (t - targets[c]) - silent * (t - silence[o])
        _add(g, h, gradient)
        total += g
        if encoder_moves:
            _add(g, values, vicinity.latent_gradient[_at(o, size)])
            vicinity.offset_gradient[o] += g
        c += 1
    return total


@_inlined
def _in_sums(k, size):
    """Whether the silence of k neighbours costs less by their products than one by one."""
    return 2 * k > size


@_compiled
def _sum_users(vicinity, silence):
    """What a row hears of everybody's silence."""
    k, size = len(vicinity.offset), silence.of_users.shape[1]
    for o in range(k):
        silence.surplus[o] = vicinity.offset[o] - vicinity.silence[o]
    for line in range(size + 3):
        _clear(silence.of_users[line])
        _clear(silence.of_items[line])
    _add_sums(vicinity.latent[: k * size], silence.surplus, silence.of_users)


@_compiled
def _hear_items(n_rows, vicinity, silence, descent):
    """What the silence about all rows adds to the gradients of h and a."""
    size, number = silence.of_items.shape[1], silence.of_items.dtype.type
    count, weight = number(n_rows), number(descent.silent_weight)
    for o in range(len(vicinity.offset)):
        latent, gradient = vicinity.latent[_at(o, size)], vicinity.latent_gradient[_at(o, size)]
        vicinity.offset_gradient[o] += _product(
            silence.of_items, count, weight, latent, silence.surplus[o], gradient
        )


@_compiled
def _add_sums(vectors, numbers, sums):
    """Of x (n · d,) and c (n,), onto ``sums`` (d + 3, d): Σ x xᵀ, Σ x, Σ c x; Σ c opens the last line."""
    n, size, one, t = len(numbers), sums.shape[1], vectors.dtype.type(1), 0
    while t + 4 <= n:
        x, x1 = vectors[_at(t, size)], vectors[_at(t + 1, size)]
        x2, x3 = vectors[_at(t + 2, size)], vectors[_at(t + 3, size)]
        c, c1, c2, c3 = numbers[t], numbers[t + 1], numbers[t + 2], numbers[t + 3]
        for f in range(size):
            _add_four(x[f], x, x1[f], x1, x2[f], x2, x3[f], x3, sums[f])
        _add_four(one, x, one, x1, one, x2, one, x3, sums[size])
        _add_four(c, x, c1, x1, c2, x2, c3, x3, sums[size + 1])
        sums[size + 2, 0] += c + c1 + c2 + c3
        t += 4
    while t < n:
        x, c = vectors[_at(t, size)], numbers[t]
        for f in range(size):
            _add(x[f], x, sums[f])
        _add(one, x, sums[size])
        _add(c, x, sums[size + 1])
        sums[size + 2, 0] += c
        t += 1


@_compiled
def _product(sums, n, weight, vector, number, gradient):
    """gradient += weight · Σ (x · vector + number + c) x over n; returns weight · Σ (x · vector + number + c)."""
    size, f = len(vector), 0
    while f + 4 <= size:
        _add_four(
            weight * vector[f], sums[f], weight * vector[f + 1], sums[f + 1],
            weight * vector[f + 2], sums[f + 2], weight * vector[f + 3], sums[f + 3], gradient,
        )  # fmt: skip
        f += 4
    while f < size:
        _add(weight * vector[f], sums[f], gradient)
        f += 1
    _add(weight * number, sums[size], gradient)
    _add(weight, sums[size + 1], gradient)
    return weight * (_dot(vector, sums[size]) + n * number + sums[size + 2, 0])


# Reciprocals and approximate roots may be taken here.
@numba.njit(fastmath=_FASTMATH | {"arcp", "afn"}, **_OPTIONS)
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
    else:
        for n in range(count):
            values[n] -= rate * gradient[n]


@_compiled
def _score_rows(latent, offset, rows, bias, scores):
    """a + h · w + b of one user for ``rows`` (rows · d,)."""
    size, last = len(latent), len(bias) - 1
    for n in range(0, last + 1, 4):
        n1, n2, n3 = min(n + 1, last), min(n + 2, last), min(n + 3, last)
        w0, w1 = rows[_at(n, size)], rows[_at(n1, size)]
        w2, w3 = rows[_at(n2, size)], rows[_at(n3, size)]
        t0, t1, t2, t3 = _dots(latent, w0, w1, w2, w3)
        scores[n], scores[n1] = t0 + offset + bias[n], t1 + offset + bias[n1]
        scores[n2], scores[n3] = t2 + offset + bias[n2], t3 + offset + bias[n3]
