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

from typing import NamedTuple

import numba
import numpy as np

_BLOCK_NUMBERS = 1024  # parameters whose gradient is formed before they move

# Not all of fastmath: NaN and infinity must stay what they are, to be seen.
_compiled = numba.njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
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

    decoder_rows: np.ndarray  # (3, rows · d)
    decoder_bias: np.ndarray  # (3, rows)
    profile_rows: np.ndarray  # (3, rows · d)
    own_rows: np.ndarray  # (3, k · d)
    hidden_bias: np.ndarray  # (3, d)
    user_bias: np.ndarray  # (3, k)
    latent: np.ndarray  # (k + 1, d) h, u's last
    hidden: np.ndarray  # (k + 1, d) before f
    offset: np.ndarray  # (k,) a
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

    def numbers(*shape):
        return np.zeros(shape, dtype=dtype)

    def indices(count):
        return np.zeros(count, dtype=np.int32)

    return Workspace(
        decoder_rows=numbers(3, rows * size),
        decoder_bias=numbers(3, rows),
        profile_rows=numbers(3, rated * size),
        own_rows=numbers(3, k * size),
        hidden_bias=numbers(3, size),
        user_bias=numbers(3, k),
        latent=numbers(k + 1, size),
        hidden=numbers(k + 1, size),
        offset=numbers(k),
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
        factors[b] = space.latent[k]
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
def _load_rows(start, count, sources, matrix, state):
    """Rows ``sources`` of ``matrix`` as values, from row ``start`` on, their moments zero."""
    size = matrix.shape[1]
    for row in range(count):
        for f in range(size):
            state[0, (start + row) * size + f] = matrix[sources[row], f]
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
        space.hidden_bias[0] = encoder.hidden_bias[0]
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
    hidden, size = space.hidden, space.hidden.shape[1]
    for o in range(k):
        hidden[o] = 0
        if len(encoder.own_factors):
            for f in range(size):
                hidden[o, f] += space.own_rows[0, o * size + f]
        if len(encoder.hidden_bias):
            for f in range(size):
                hidden[o, f] += space.hidden_bias[0, f]


@_compiled
def _sum_profiles(first_row, last_row, space):
    """Σ_j x_vj E_j over some rows."""
    hidden, size = space.hidden, space.hidden.shape[1]
    for row in range(first_row, last_row):
        for cell in range(space.first_cell[row], space.first_cell[row + 1]):
            x, o = space.input[cell], space.neighbour[cell]
            if x != 0:
                for f in range(size):
                    hidden[o, f] += x * space.profile_rows[0, row * size + f]


@_compiled
def _activate(first, last, encoder, space):
    hidden, latent = space.hidden, space.latent
    one = hidden.dtype.type(1)
    for o in range(first, last):
        for f in range(hidden.shape[1]):
            if encoder.sigmoid:
                latent[o, f] = one / (one + np.exp(-hidden[o, f]))
            else:
                latent[o, f] = hidden[o, f]


@_compiled
def _encode_user(user, neighbours, encoder, ratings, space):
    """u's h to the last row of ``space.latent``, from what has moved where it has; returns her a."""
    k, size = len(neighbours), space.hidden.shape[1]
    hidden = space.hidden[k]
    own = -1
    for o in range(k):
        if neighbours[o] == user:
            own = o
    hidden[:] = 0
    if len(encoder.own_factors):
        for f in range(size):
            hidden[f] = (
                encoder.own_factors[user, f] if own < 0 else space.own_rows[0, own * size + f]
            )
    if len(encoder.hidden_bias):
        for f in range(size):
            hidden[f] += space.hidden_bias[0, f]
    if len(encoder.profile_factors):
        for position in range(ratings.indptr[user], ratings.indptr[user + 1]):
            x, item = ratings.inputs[position], ratings.indices[position]
            row = space.row_of[item]
            if row < 0:
                for f in range(size):
                    hidden[f] += x * encoder.profile_factors[item, f]
            else:
                for f in range(size):
                    hidden[f] += x * space.profile_rows[0, row * size + f]
    _activate(k, k + 1, encoder, space)
    offset = encoder.constants[user]
    if len(encoder.user_bias):
        offset += encoder.user_bias[user] if own < 0 else space.user_bias[0, own]
    return offset


@_compiled
def _step_decoder(first_row, last_row, start, n_rated, step, weights, decoder, descent, space):
    """Gradients of some rows' cells; then the rows, kept from row ``start`` on, move."""
    size, k = decoder.factors.shape[1], weights.shape[1]
    rows, bias, latent = space.decoder_rows, space.decoder_bias, space.latent
    gradient, bias_gradient = space.gradient, space.bias_gradient
    number = rows.dtype.type
    pull = number(descent.pull)
    for row in range(first_row, last_row):
        line = row - first_row
        at, item = start + line, space.item_of[row]
        if pull != 0:
            for f in range(size):
                gradient[line * size + f] = pull * (
                    rows[0, at * size + f] - decoder.factors[item, f]
                )
            bias_gradient[line] = pull * (bias[0, at] - decoder.bias[item])
        else:
            gradient[line * size : (line + 1) * size] = 0
            bias_gradient[line] = 0
        first = space.first_cell[min(row, n_rated)]
        last = space.first_cell[row + 1] if row < n_rated else first + k
        for cell in range(first, last):
            o = space.neighbour[cell]
            weight = weights[space.kind[cell], o]
            if weight == 0:
                continue
            score = number(0)
            for f in range(size):
                score += latent[o, f] * rows[0, at * size + f]
            score += space.offset[o] + bias[0, at]
            slope = weight * (score - space.target[cell])
            bias_gradient[line] += slope
            if descent.encoder_moves:
                space.offset_gradient[o] += slope
                for f in range(size):
                    space.latent_gradient[o, f] += slope * rows[0, at * size + f]
            if descent.decoder_moves:
                for f in range(size):
                    gradient[line * size + f] += slope * latent[o, f]
    if descent.decoder_moves:
        count = last_row - first_row
        _move(rows, start * size, count * size, gradient, step, descent)
        _move(bias, start, count, bias_gradient, step, descent)


@_compiled
def _step_encoder(neighbours, n_rated, block, step, encoder, descent, space):
    """From the latent vectors' gradients to the encoder's; it moves; the vicinity is encoded."""
    k, size = space.latent_gradient.shape
    number = space.hidden.dtype.type
    one, pull = number(1), number(descent.pull)
    delta, gradient, bias_gradient = space.latent_gradient, space.gradient, space.bias_gradient
    if encoder.sigmoid:
        for o in range(k):
            for f in range(size):
                delta[o, f] *= space.latent[o, f] * (one - space.latent[o, f])
    if len(encoder.own_factors):
        for o in range(k):
            for f in range(size):
                away = space.own_rows[0, o * size + f] - encoder.own_factors[neighbours[o], f]
                gradient[o * size + f] = delta[o, f] + pull * away
        _move(space.own_rows, 0, k * size, gradient, step, descent)
    if len(encoder.user_bias):
        for o in range(k):
            away = space.user_bias[0, o] - encoder.user_bias[neighbours[o]]
            bias_gradient[o] = space.offset_gradient[o] + pull * away
        _move(space.user_bias, 0, k, bias_gradient, step, descent)
    if len(encoder.hidden_bias):
        for f in range(size):
            gradient[f] = pull * (space.hidden_bias[0, f] - encoder.hidden_bias[0, f])
        for o in range(k):
            for f in range(size):
                gradient[f] += delta[o, f]
        _move(space.hidden_bias, 0, size, gradient, step, descent)
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
    delta, size = space.latent_gradient, space.latent_gradient.shape[1]
    rows, gradient = space.profile_rows, space.gradient
    pull = rows.dtype.type(descent.pull)
    for row in range(first_row, last_row):
        line, item = row - first_row, space.item_of[row]
        if pull != 0:
            for f in range(size):
                away = rows[0, row * size + f] - encoder.profile_factors[item, f]
                gradient[line * size + f] = pull * away
        else:
            gradient[line * size : (line + 1) * size] = 0
        for cell in range(space.first_cell[row], space.first_cell[row + 1]):
            x, o = space.input[cell], space.neighbour[cell]
            if x != 0:
                for f in range(size):
                    gradient[line * size + f] += x * delta[o, f]
    _move(rows, first_row * size, (last_row - first_row) * size, gradient, step, descent)


@_compiled
def _move(state, start, count, gradient, step, descent):
    """One step of the optimiser, as ``torch.optim`` makes it."""
    number = gradient.dtype.type
    rate = number(descent.rates[step, 0])
    if descent.adam:
        scale, epsilon = number(descent.rates[step, 1]), number(1e-8)
        new_1, new_2 = number(0.1), number(0.001)
        for n in range(count):
            g = gradient[n]
            first, second = state[1, start + n], state[2, start + n]
            first += new_1 * (g - first)
            second += new_2 * (g * g - second)
            state[1, start + n], state[2, start + n] = first, second
            state[0, start + n] -= rate * first / (scale * np.sqrt(second) + epsilon)
    elif descent.momentum > 0:
        momentum = number(descent.momentum)
        for n in range(count):
            velocity = momentum * state[1, start + n] + gradient[n]
            state[1, start + n] = velocity
            state[0, start + n] -= rate * velocity
    else:
        for n in range(count):
            state[0, start + n] -= rate * gradient[n]


@_compiled
def _score_rows(first_row, last_row, start, offset, space, scores):
    """u's scores of some rows, kept from row ``start`` on."""
    k, size = len(space.latent) - 1, space.latent.shape[1]
    for row in range(first_row, last_row):
        at = start + row - first_row
        score = space.decoder_rows.dtype.type(0)
        for f in range(size):
            score += space.latent[k, f] * space.decoder_rows[0, at * size + f]
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
