"""The zoo of problem set 2: right solutions that look unlike each other, and usual mistakes."""

import pytest

from tests.assignments.graded_zoo import Submission, edited, graded_zoo


def edit(cell_id, old, new):
    return edited("ps2", cell_id, old, new)


LOOPS = {
    "solution-1a": """
from math import exp


def gaussian_kl(z_mean, z_log_var):
    result = []
    for means, log_vars in zip(z_mean, z_log_var):
        kl = 0.0
        for mu, v in zip(means, log_vars):
            kl += (mu * mu + exp(v) - 1 - v) / 2
        result.append(kl)
    return result
""",
    "solution-1b": """
def monte_carlo_kl(z_mean, z_log_var, draws, rng):
    total, squares = 0.0, 0.0
    for _ in range(draws):
        log_ratio = 0.0
        for mu, v in zip(z_mean, z_log_var):
            noise = rng.normal()
            z = mu + noise * np.exp(v) ** 0.5
            log_ratio += (z**2 - noise**2 - v) / 2
        total += log_ratio
        squares += log_ratio**2
    mean = total / draws
    return mean, ((squares / draws - mean**2) / draws) ** 0.5
""",
    "solution-2a": """
def log_evidence(f, s, x, grid):
    logs = []
    for z in grid:
        distance = (x - f(z)) / s
        logs.append(-(z**2) / 2 - distance**2 / 2 - np.log(2 * np.pi * s))
    largest = max(logs)
    total = sum(np.exp(one - largest) for one in logs)
    return largest + np.log(total * (grid[1] - grid[0]))
""",
    "solution-2b": """
def elbo_and_gap(f, s, x, q_mean, q_std, grid):
    dz = grid[1] - grid[0]
    q = np.exp(-((grid - q_mean) ** 2) / (2 * q_std**2)) / (q_std * (2 * np.pi) ** 0.5)
    log_likelihood = -((x - f(grid)) ** 2) / (2 * s**2) - np.log(s * (2 * np.pi) ** 0.5)
    kl = 0.5 * (q_mean**2 + q_std**2 - 1) - np.log(q_std)
    elbo = np.sum(q * log_likelihood) * dz - kl
    joint = log_likelihood - grid**2 / 2
    log_p_x = np.log(np.sum(np.exp(joint - joint.max())) * dz) + joint.max()
    return elbo, log_p_x - np.log(2 * np.pi) / 2 - elbo
""",
    "solution-3": """
counterexamples = {}
counterexamples["E"] = [[0.0], [0.7]]
counterexamples["B"] = [[2.0], [0.5]]
counterexamples["C"] = [[0.5, -1.0, 0.0], [0.5, 2.0, 1.0]]
""",
}
LIBRARIES = {
    "solution-1a": """
def gaussian_kl(z_mean, z_log_var):
    mu, v = np.float32(z_mean), np.float32(z_log_var)
    return -0.5 * np.add.reduce(1 + v - np.square(mu) - np.exp(v), axis=-1)
""",
    "solution-1b": """
from scipy.stats import multivariate_normal, sem


def monte_carlo_kl(z_mean, z_log_var, draws, rng):
    d = len(z_mean)
    q = multivariate_normal(z_mean, np.diag(np.exp(z_log_var)))
    p = multivariate_normal(np.zeros(d), np.eye(d))
    z = q.rvs(size=draws, random_state=rng).reshape(draws, d)
    values = q.logpdf(z) - p.logpdf(z)
    return np.array([np.mean(values), sem(values)])
""",
    "solution-2a": """
from scipy.integrate import trapezoid


def log_evidence(f, s, x, grid):
    log_joint = norm(0, 1).logpdf(grid) + norm(f(grid), s).logpdf(x)
    highest = np.max(log_joint)
    return highest + np.log(trapezoid(np.exp(log_joint - highest), grid))
""",
    "solution-2b": """
from scipy.special import softmax


def elbo_and_gap(f, s, x, q_mean, q_std, grid):
    q = norm(q_mean, q_std)
    weights = q.pdf(grid) / q.pdf(grid).sum()
    log_joint = norm.logpdf(grid) + norm.logpdf(x, f(grid), s)
    posterior = log_joint - logsumexp(log_joint + np.log(np.gradient(grid)))
    return weights @ log_joint + q.entropy(), weights @ (q.logpdf(grid) - posterior)
""",
    "solution-3": """
counterexamples = {
    "C": (np.array([0.3, 0.3]), np.array([0.2, 0.2])),
    "E": (np.array([3.0, 1.0]), np.array([1.0, 2.0])),
    "B": (np.zeros(4), np.full(4, 0.5)),
}
""",
}
ODD_BUT_RIGHT = {
    "solution-1a": """
def gaussian_kl(m, v):
    sigma = np.sqrt(np.exp(v))
    return np.einsum("ij->i", (m**2 + sigma**2) / 2 - 0.5 - np.log(sigma))
""",
    "solution-1b": """
import sys


def monte_carlo_kl(z_mean, z_log_var, draws, rng):
    print("drawing", draws, file=sys.stderr)
    eps = rng.standard_normal((len(z_mean), draws))
    z = z_mean[:, None] + np.exp(z_log_var / 2)[:, None] * eps
    values = 0.5 * np.sum(z**2 - eps**2 - z_log_var[:, None], 0)
    return float(values.mean()), float(np.std(values, ddof=1) / draws**0.5)
""",
    "solution-2a": """
def log_evidence(f, s, x, grid):
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    return np.logaddexp.reduce(norm.logpdf(x, f(grid), s) + norm.logpdf(grid) + np.log(step))
""",
    "solution-2b": """
def elbo_and_gap(f, s, x, q_mean, q_std, grid):
    nodes, weights = np.polynomial.hermite.hermgauss(60)
    z = q_mean + np.sqrt(2) * q_std * nodes
    inside = norm.logpdf(x, f(z), s) + norm.logpdf(z) - norm.logpdf(z, q_mean, q_std)
    elbo = weights @ inside / np.sqrt(np.pi)
    return elbo, log_evidence(f, s, x, grid) - elbo
""",
}

SUBMISSIONS = {
    "the solution": Submission({}),
    "loops": Submission(LOOPS),
    "libraries": Submission(LIBRARIES),
    "odd, but right": Submission(ODD_BUT_RIGHT),
    # ---- 1a: every wrong formula that the course collects
    "answer 2: product, no 1/2": Submission(
        {
            "solution-1a": "def gaussian_kl(m, v):\n"
            "    return np.sum(np.exp(v) * m**2 - 0.5 * v - 1, axis=1)"
        },
        ["test-1a"],
        "Expected a KL of",
    ),
    "answer 2 as it was meant": Submission(
        {
            "solution-1a": "def gaussian_kl(m, v):\n"
            "    return np.sum(np.exp(v) + m**2 - 0.5 * v - 1, axis=1)"
        },
        ["test-1a"],
    ),
    "a log-variance read as log sigma": Submission(
        edit(
            "solution-1a",
            "np.exp(z_log_var) - 1 - z_log_var",
            "np.exp(2 * z_log_var) - 1 - 2 * z_log_var",
        ),
        ["test-1a"],
    ),
    "sigma for its square": Submission(
        edit("solution-1a", "np.exp(z_log_var)", "np.exp(0.5 * z_log_var)"), ["test-1a"]
    ),
    "the mean over the latents": Submission(
        edit("solution-1a", "np.sum", "np.mean"), ["test-1a"], "nats, but"
    ),
    "no factor 1/2": Submission(edit("solution-1a", "0.5 * np", "np"), ["test-1a"]),
    "the sign": Submission(edit("solution-1a", "0.5 * np", "-0.5 * np"), ["test-1a"]),
    "the prior N(0, 4)": Submission(
        {
            "solution-1a": "def gaussian_kl(m, v):\n    return 0.5 * np.sum("
            "(m**2 + np.exp(v)) / 4 - 1 - v + np.log(4), axis=1)"
        },
        ["test-1a"],
    ),
    "the KL in the other direction": Submission(
        {
            "solution-1a": "def gaussian_kl(m, v):\n"
            "    return 0.5 * np.sum((1 + m**2) / np.exp(v) - 1 + v, axis=1)"
        },
        ["test-1a"],
    ),
    "the sum over the rows, too": Submission(
        edit("solution-1a", ", axis=1)", ")"),
        ["test-1a"],
        "Expected an array of shape (2,), but one of () came",
    ),
    "the visible check by heart": Submission(
        {"solution-1a": "def gaussian_kl(m, v):\n    return 0.5 * m[:, 0] ** 2"}, ["test-1a"]
    ),
    "None": Submission(edit("solution-1a", "return 0.5", "0.5"), ["test-1a"]),
    # ---- 1b
    "the standard deviation of one draw": Submission(
        edit("solution-1b", " / np.sqrt(draws)", ""), ["test-1b"], "Expected a standard error near"
    ),
    "the variance of the mean": Submission(
        edit("solution-1b", "log_ratios.std() / np.sqrt(draws)", "log_ratios.var() / draws"),
        ["test-1b"],
        "Expected a standard error near",
    ),
    "divided by the number of draws": Submission(
        edit("solution-1b", "np.sqrt(draws)", "draws"), ["test-1b"]
    ),
    "the closed form for an estimate": Submission(
        edit(
            "solution-1b",
            "log_ratios.mean(),",
            "0.5 * np.sum(z_mean**2 + sigma**2 - 1 - z_log_var),",
        ),
        ["test-1b"],
        "Expected other estimates with other random numbers",
    ),
    "frozen noise": Submission(
        edit("solution-1b", "rng.standard_normal", "np.random.default_rng(0).standard_normal"),
        ["test-1b"],
        "Expected other estimates with other random numbers",
    ),
    "draws of the prior": Submission(
        edit("solution-1b", "z_mean + sigma * rng", "rng"), ["test-1b"], "Expected an estimate"
    ),
    "noise shared by the latents": Submission(
        edit("solution-1b", "(draws, len(z_mean))", "(draws, 1)"), ["test-1b"]
    ),
    "a variance for the standard deviation": Submission(
        edit("solution-1b", "np.exp(0.5 * z_log_var)", "np.exp(z_log_var)"), ["test-1b"]
    ),
    "the mean over the latents of a draw": Submission(
        edit("solution-1b", ".sum(axis=1)", ".mean(axis=1)"), ["test-1b"]
    ),
    "q and p swapped": Submission(
        edit(
            "solution-1b",
            "norm.logpdf(z, z_mean, sigma) - norm.logpdf(z)",
            "norm.logpdf(z) - norm.logpdf(z, z_mean, sigma)",
        ),
        ["test-1b"],
    ),
    "no standard error": Submission(
        edit("solution-1b", ", log_ratios.std() / np.sqrt(draws)", ""),
        ["test-1b"],
        "Expected two numbers",
    ),
    # ---- 2a
    "a log of a sum that underflows": Submission(
        edit("solution-2a", "logsumexp(log_joint)", "np.log(np.sum(np.exp(log_joint)))"),
        ["test-2a"],
        "but -inf came",
    ),
    "the step forgotten": Submission(
        edit("solution-2a", " + np.log(grid[1] - grid[0])", ""), ["test-2a"], "Expected a log p(x)"
    ),
    "the prior forgotten": Submission(edit("solution-2a", "norm.logpdf(grid) + ", ""), ["test-2a"]),
    "p(x) without its logarithm": Submission(
        {
            "solution-2a": "def log_evidence(f, s, x, grid):\n"
            "    return np.sum(norm.pdf(grid) * norm.pdf(x, f(grid), s)) * (grid[1] - grid[0])"
        },
        ["test-2a"],
    ),
    "s read as a variance": Submission(
        edit("solution-2a", "f(grid), s)", "f(grid), np.sqrt(s))"), ["test-2a"]
    ),
    "the mean of the logarithms": Submission(
        {
            "solution-2a": "def log_evidence(f, s, x, grid):\n"
            "    step = grid[1] - grid[0]\n"
            "    return np.sum(norm.pdf(grid) * norm.logpdf(x, f(grid), s)) * step"
        },
        ["test-2a"],
    ),
    # ---- 2b
    "the likelihood without the KL": Submission(
        edit("solution-2b", "log_joint - log_q", "log_joint - norm.logpdf(grid)"),
        ["test-2b"],
        "Expected an ELBO of",
    ),
    "the KL with the wrong sign": Submission(
        edit("solution-2b", "(log_joint - log_q)", "(log_joint + log_q)"), ["test-2b"]
    ),
    "the mean under the prior": Submission(
        edit("solution-2b", "q = norm.pdf(grid, q_mean, q_std)", "q = norm.pdf(grid)"), ["test-2b"]
    ),
    "the gap in the other direction": Submission(
        edit(
            "solution-2b",
            "np.sum(q * (log_q - log_posterior)) * step",
            "np.sum(np.exp(log_posterior) * (log_posterior - log_q)) * step",
        ),
        ["test-2b"],
        "Expected a gap of",
    ),
    "the KL to the prior for the gap": Submission(
        edit("solution-2b", "log_q - log_posterior", "log_q - norm.logpdf(grid)"),
        ["test-2b"],
        "Expected a gap of",
    ),
    "q's standard deviation read as a variance": Submission(
        edit("solution-2b", "    step =", "    q_std = np.sqrt(q_std)\n    step ="), ["test-2b"]
    ),
    # ---- 3
    "a right formula named": Submission(
        edit("solution-3", '"B": ([0.0], [1.0]),', '"B": ([0.0], [1.0]), "D": ([0.0], [1.0]),'),
        ["test-3"],
        "D is off by 0.05 nats, but it is off by 0.000",
    ),
    "one of the wrong ones not found": Submission(
        edit("solution-3", '"C": ([1.0, 1.0], [1.0, 1.0]),', ""), ["test-3"], "only 2 of them came"
    ),
    "an input that shows nothing": Submission(
        edit("solution-3", '"C": ([1.0, 1.0], [1.0, 1.0])', '"C": ([1.0], [1.0])'),
        ["test-3"],
        "C is off by 0.05 nats",
    ),
    "the letters alone": Submission(
        {"solution-3": 'counterexamples = ["B", "C", "E"]'}, ["test-3"], "but a list came"
    ),
    "a negative standard deviation": Submission(
        edit("solution-3", '"B": ([0.0], [1.0])', '"B": ([0.0], [-1.0])'),
        ["test-3"],
        "sigma > 0 for B",
    ),
    "the right formulas named, and the wrong left out": Submission(
        {"solution-3": 'counterexamples = {"A": ([1.0], [2.0]), "D": ([1.0], [2.0])}'}, ["test-3"]
    ),
    "a formula of the setup changed": Submission(
        edit("solution-3", "counterexamples =", 'FORMULAS["C"] = FORMULAS["A"]\ncounterexamples ='),
    ),
    # ---- what breaks
    "an exception": Submission(
        {"solution-2a": "def log_evidence(f, s, x, grid):\n    return {}['log p']"},
        ["test-2a"],
        "KeyError",
    ),
    "a hang where the cell itself runs": Submission(
        {"solution-3": "while True:\n    pass"}, ["test-3"], "'counterexamples' is not defined", 2
    ),
    "a deleted cell": Submission({"solution-3": None}, ["test-3"], "is not defined"),
}
graded = graded_zoo("ps2", SUBMISSIONS)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_a_submission_gets_its_marks_and_a_sentence_for_each_lost(graded, name):
    graded.judge(name)
