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
the rows are the items that the vicinity rated, and a step costs what its ratings cost
(:func:`_step_sparse`). With ω > 0 they are all items (:func:`_step_dense`).

What makes it fast. Sums over cells take four at a time. The gradient of a block of rows stays in
the L1 cache until the rows have moved. With ω > 0 and a frozen encoder rows do not depend on each
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
    decoder_bias: np.ndarray  # (3, rows)
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
    target: np.ndarray  # y (cells,)
    input: np.ndarray  # x (cells,)
    slope: np.ndarray  # g (cells,)
    first_of_row: np.ndarray  # (rated rows + 1,)
    cell_of_row: np.ndarray  # (cells,)
    neighbour_of_row: np.ndarray  # (cells,)


class Gradients(NamedTuple):
    """On their way to the optimiser."""

    rows: np.ndarray  # of a block of rows, or of k
    numbers: np.ndarray  # of each row's bias, or of k
    slopes: np.ndarray  # g of a block of rows (block · k,)


class Workspace(NamedTuple):
    """One thread's memory."""

    moving: Moving
    vicinity: Vicinity
    cells: Cells
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
        at_once = block if everywhere and not descent.encoder_moves else max(n_rows, 1)
        for begin in range(0, max(n_rows, 1), at_once):
            end = min(begin + at_once, n_rows)
            _load_decoder(cells.item_of[begin:end], decoder, moving)
            for step in range(steps):
                if descent.encoder_moves or begin == step == 0:
                    _encode(neighbours, encoder, moving, cells, vicinity)
                _clear(vicinity.latent_gradient)
                _clear(vicinity.offset_gradient)
                if everywhere:
                    for row in range(begin, end, block):
                        last, start = min(row + block, end), row - begin
                        _step_dense(row, last, start, n_rated, step, decoder, descent, space)
                else:
                    _step_sparse(n_rows, block, step, decoder, descent, space)
                if descent.encoder_moves:
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
            cells.target[n_cells] = ratings.targets[position]
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
            cells.cell_of_row[place], cells.neighbour_of_row[place] = cell, o
            ends[cells.row[cell] + 1] = place + 1
    n_rows = n_rated
    if everywhere:
        for item in range(len(row_of)):
            if row_of[item] < 0:
                item_of[n_rows] = item
                n_rows += 1
    return n_rated, n_rows


# Loops over vectors, which the compiler turns into vector instructions, twice as fast where it knows
# their length. Four at a time, a vector is loaded and stored once for four; fewer than four are
# filled up with weights of zero.


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
def _step_sparse(n_rows, block, step, decoder, descent, space):
    """Slopes of all cells and the gradients of h and a; the decoder's gradients; its rows move."""
    moving, vicinity, cells = space.moving, space.vicinity, space.cells
    gradients, numbers = space.gradients.rows, space.gradients.numbers
    number = gradients.dtype.type
    size, bias, rows = decoder.factors.shape[1], moving.decoder_bias[0], moving.decoder_rows[0]
    weight, pull = number(descent.rated_weight), number(descent.pull)
    for o in range(len(vicinity.offset)):
        _score_cells(o, weight, size, descent.encoder_moves, rows, bias, cells, vicinity)
    trained = decoder.factors
    for first in range(0, n_rows, block):
        last = min(first + block, n_rows)
        _sum_rows(
            first, last, rows, trained, cells.slope, vicinity.latent, gradients, cells, descent
        )
        _move(moving.decoder_rows, first * size, (last - first) * size, gradients, step, descent)
    if descent.bias_moves:
        for row in range(n_rows):
            place, end = cells.first_of_row[row], cells.first_of_row[row + 1]
            decay, keep = _decay(end - place + descent.silent_users, descent, gradients)
            total = pull * (bias[row] - decoder.bias[cells.item_of[row]]) + decay * bias[row]
            for rest in range(place, end):
                total += cells.slope[cells.cell_of_row[rest]]
            numbers[row] = total
            bias[row] *= keep
        _move(moving.decoder_bias, 0, n_rows, numbers, step, descent)


@_compiled
def _score_cells(o, weight, size, encoder_moves, rows, bias, cells, vicinity):
    """Slopes of one neighbour's cells, and what they add to the gradients of its h and a."""
    latent, offset = vicinity.latent[_at(o, size)], vicinity.offset[o]
    gradient = vicinity.latent_gradient[_at(o, size)]
    row, target, slope = cells.row, cells.target, cells.slope
    zero, last = bias.dtype.type(0), cells.first[o + 1] - 1
    for c in range(cells.first[o], last + 1, 4):
        c1, c2, c3 = min(c + 1, last), min(c + 2, last), min(c + 3, last)
        w0, w1 = rows[_at(row[c], size)], rows[_at(row[c1], size)]
        w2, w3 = rows[_at(row[c2], size)], rows[_at(row[c3], size)]
        t0, t1, t2, t3 = _dots(latent, w0, w1, w2, w3)
        slope[c] = g0 = weight * (t0 + offset + bias[row[c]] - target[c])
        slope[c1] = g1 = weight * (t1 + offset + bias[row[c1]] - target[c1])
        slope[c2] = g2 = weight * (t2 + offset + bias[row[c2]] - target[c2])
        slope[c3] = g3 = weight * (t3 + offset + bias[row[c3]] - target[c3])
        if encoder_moves:
            g1 = g1 if c + 1 <= last else zero
            g2 = g2 if c + 2 <= last else zero
            g3 = g3 if c + 3 <= last else zero
            _add_four(g0, w0, g1, w1, g2, w2, g3, w3, gradient)
            vicinity.offset_gradient[o] += g0 + g1 + g2 + g3


@_compiled
def _step_dense(first, last, start, n_rated, step, decoder, descent, space):
    """One step of some rows, kept from row ``start`` on; all neighbours count for each."""
    moving, vicinity, cells, slopes = (
        space.moving,
        space.vicinity,
        space.cells,
        space.gradients.slopes,
    )
    size, k, count = decoder.factors.shape[1], len(vicinity.offset), last - first
    number = slopes.dtype.type
    rated_weight, silent_weight = number(descent.rated_weight), number(descent.silent_weight)
    rows = moving.decoder_rows[0, start * size : (start + count) * size]
    bias = moving.decoder_bias[0, start : start + count]
    for o in range(k):
        latent = vicinity.latent[_at(o, size)]
        _score_rows(latent, vicinity.offset[o], rows, bias, slopes[_at(o, count)])
    begin = end = 0
    if first < n_rated:
        begin, end = cells.first_of_row[first], cells.first_of_row[min(last, n_rated)]
    for place in range(begin, end):
        cell, o = cells.cell_of_row[place], cells.neighbour_of_row[place]
        score = slopes[o * count + cells.row[cell] - first]
        cells.slope[cell] = rated_weight * (score - cells.target[cell])
    for o in range(k):
        silence, slope = vicinity.silence[o], slopes[_at(o, count)]
        for n in range(count):
            slope[n] = silent_weight * (slope[n] - silence)
    for place in range(begin, end):
        cell, o = cells.cell_of_row[place], cells.neighbour_of_row[place]
        slopes[o * count + cells.row[cell] - first] = cells.slope[cell]
    if descent.encoder_moves:
        for o in range(k):
            vicinity.offset_gradient[o] += _sum_dense(
                slopes[_at(o, count)], rows, vicinity.latent_gradient[_at(o, size)]
            )
    _sum_silent(
        first, k, n_rated, slopes, rows, bias, decoder, descent, cells, vicinity, space.gradients
    )
    _move(moving.decoder_rows, start * size, count * size, space.gradients.rows, step, descent)
    if descent.bias_moves:
        _move(moving.decoder_bias, start, count, space.gradients.numbers, step, descent)


@_compiled
def _sum_dense(weights, rows, gradient):
    """gradient += Σ_n weight_n · row_n; returns Σ weight."""
    size, last = len(gradient), len(weights) - 1
    zero = total = weights.dtype.type(0)
    for n in range(0, last + 1, 4):
        n1, n2, n3 = min(n + 1, last), min(n + 2, last), min(n + 3, last)
        g0, g1 = weights[n], weights[n1] if n + 1 <= last else zero
        g2, g3 = weights[n2] if n + 2 <= last else zero, weights[n3] if n + 3 <= last else zero
        _add_four(
            g0, rows[_at(n, size)], g1, rows[_at(n1, size)],
            g2, rows[_at(n2, size)], g3, rows[_at(n3, size)], gradient,
        )  # fmt: skip
        total += g0 + g1 + g2 + g3
    return total


@_compiled
def _sum_silent(
    first, k, n_rated, slopes, rows, bias, decoder, descent, cells, vicinity, gradients
):
    """Gradients of a block of rows for all of which all neighbours count."""
    size, count, numbers = decoder.factors.shape[1], len(bias), gradients.numbers
    zero, pull = bias.dtype.type(0), bias.dtype.type(descent.pull)
    latent, last = vicinity.latent, k - 1
    for n in range(count):
        gradient, row = gradients.rows[_at(n, size)], first + n
        item, n_cells = cells.item_of[row], descent.silent_users
        if row < n_rated:
            n_cells += cells.first_of_row[row + 1] - cells.first_of_row[row]
        decay, keep = _decay(n_cells, descent, bias)
        _hold(pull, decay, keep, rows[_at(n, size)], decoder.factors[item], gradient)
        numbers[n] = pull * (bias[n] - decoder.bias[item]) + decay * bias[n]
        if descent.bias_moves:
            bias[n] *= keep
        for o in range(0, k, 4):
            o1, o2, o3 = min(o + 1, last), min(o + 2, last), min(o + 3, last)
            g0, g1 = slopes[o * count + n], slopes[o1 * count + n] if o + 1 < k else zero
            g2 = slopes[o2 * count + n] if o + 2 < k else zero
            g3 = slopes[o3 * count + n] if o + 3 < k else zero
            _add_four(
                g0, latent[_at(o, size)], g1, latent[_at(o1, size)],
                g2, latent[_at(o2, size)], g3, latent[_at(o3, size)], gradient,
            )  # fmt: skip
            numbers[n] += g0 + g1 + g2 + g3


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
