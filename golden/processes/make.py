"""Processes by their definitions, in f64: whole transition matrices and Bayes' rule, differences and integrals.

Nothing here knows a closed form that the crates use. Writes `processes.json` beside this file.
"""

import json
import math
import pathlib

import numpy as np
from scipy import integrate, stats

# --- Discrete processes: the mask, where there is one, is the last token. -------------------------------------------


def schedule(name, t):
    """alpha(t), the probability that a token is untouched, of pure masking or pure uniform noise."""
    if name == "linear":
        return 1.0 - t
    if name == "cosine":
        return 1.0 - math.cos(math.pi / 2 * (1.0 - t))
    raise ValueError(name)


def marginal(kind, noise, t, text):
    """Q[x, z] = q(z_t = z | x): rows are clean tokens of text, columns text and, last, the mask."""
    alpha = schedule(noise, t)
    q = np.zeros((text, text + 1))
    if kind == "masked":
        q[:, :text] = alpha * np.eye(text)
        q[:, text] = 1.0 - alpha
    elif kind == "uniform":
        q[:, :text] = alpha * np.eye(text) + (1.0 - alpha) / text
    else:
        # GIDD (2503.04482), gamma = 1: weights (1 - tau) of the token, tau of the mask, c of any token, normed.
        share = float(kind.split(":")[1])
        tau = 1.0 - alpha
        c = 2.0 * share / (1.0 - share) * math.sqrt(tau * (1.0 - tau))
        q[:, :text] = (1.0 - tau) * np.eye(text) + c / text
        q[:, text] = tau
        q /= 1.0 + c
    return q


def full(kind, noise, t, text):
    """The same as a law for every token, the mask as well, which stays what noise would make of it."""
    q = marginal(kind, noise, t, text)
    alpha = q[0, 0] - q[0, 1]
    last = q[0].copy()
    last[0] -= alpha
    last[text] += alpha
    return np.vstack([q, last])


def kernel(kind, noise, s, t, text):
    """K with full(s) K = full(t): the law of the later token given the earlier one."""
    return np.linalg.solve(full(kind, noise, s, text), full(kind, noise, t, text))


def posterior(kind, noise, s, t, text, shown, prediction):
    """q(z_s | z_t = shown) where the clean token has the law `prediction` without looking at what is shown."""
    earlier = np.asarray(prediction) @ marginal(kind, noise, s, text)
    law = earlier * kernel(kind, noise, s, t, text)[:, shown]
    return law / law.sum()


def integrand(kind, noise, t, text, shown, clean, prediction):
    """The divergence of a short true step back from the predicted one, per unit of time, extrapolated to no step."""

    def rate(dt):
        one = np.eye(text)[clean]
        true = posterior(kind, noise, t - dt, t, text, shown, one)
        predicted = posterior(kind, noise, t - dt, t, text, shown, prediction)
        keep = true > 0
        return float(np.sum(true[keep] * np.log(true[keep] / predicted[keep]))) / dt

    return 2.0 * rate(5e-6) - rate(1e-5)


def discrete():
    cases = []
    random = np.random.default_rng(7)
    for kind in ["masked", "uniform", "hybrid:0.1", "hybrid:0.2", "hybrid:0.5"]:
        for noise in ["linear", "cosine"]:
            for text in [2, 3, 7]:
                for s, t in [(0.2, 0.5), (0.45, 0.9)]:
                    clean = int(random.integers(text))
                    allowed = np.flatnonzero(marginal(kind, noise, t, text)[clean] > 0)
                    prediction = random.dirichlet(np.ones(text))
                    for shown in allowed:
                        shown = int(shown)
                        joint = prediction * marginal(kind, noise, t, text)[:, shown]
                        one = np.eye(text)[clean]
                        # Where noise never writes what is shown, the prediction without it says nothing of a step.
                        sure = kind == "masked" and shown < text
                        cases.append({
                            "process": kind,
                            "schedule": noise,
                            "text": text,
                            "earlier": s,
                            "later": t,
                            "clean": clean,
                            "shown": shown,
                            "marginal": marginal(kind, noise, t, text)[clean].tolist(),
                            "posterior": posterior(kind, noise, s, t, text, shown, one).tolist(),
                            "prediction": prediction.tolist(),
                            "looked": None if sure else (joint / joint.sum()).tolist(),
                            "predicted_posterior": None
                            if sure
                            else posterior(kind, noise, s, t, text, shown, prediction).tolist(),
                            "integrand": None if sure else integrand(kind, noise, t, text, shown, clean, prediction),
                        })
    return cases


# --- The gaussian field: log SNR from 6 to -7, variance preserving. ---------------------------------------------------


def level(t):
    snr = math.exp(6.0 - 13.0 * t)
    return math.sqrt(snr / (1.0 + snr)), math.sqrt(1.0 / (1.0 + snr))


def gaussian():
    cases = []
    for s, t in [(0.0, 0.1), (0.3, 0.5), (0.6, 1.0)]:
        (alpha_s, sigma_s), (alpha_t, sigma_t) = level(s), level(t)
        # z_t = a z_s + noise: the joint law of (z_s, z_t) given e, and its conditional.
        a = alpha_t / alpha_s
        covariance = np.array([[sigma_s**2, a * sigma_s**2], [a * sigma_s**2, sigma_t**2]])
        z, e = 0.7, -0.4
        gain = covariance[0, 1] / covariance[1, 1]
        dt = 1e-6
        snr = lambda time: (level(time)[0] / level(time)[1]) ** 2
        middle = (s + t) / 2
        cases.append({
            "earlier": s,
            "later": t,
            "alpha": alpha_t,
            "sigma": sigma_t,
            "evidence": alpha_t / sigma_t**2,
            "point": z,
            "clean": e,
            "mean": alpha_s * e + gain * (z - alpha_t * e),
            "deviation": math.sqrt(covariance[0, 0] - gain * covariance[0, 1]),
            "flow": alpha_s * e + sigma_s * (z - alpha_t * e) / sigma_t,
            "weight_time": middle,
            "weight": -0.5 * (snr(middle + dt) - snr(middle - dt)) / (2 * dt),
        })
    return cases


# --- The simplex field: P ~ Dir(c (alpha e_x + (1 - alpha)/N)), 1/(c + 1) held at 0.2 to t = 0.2, then linear to 0.5. ---


def simplex():
    cases = []
    for text in [3, 8]:
        for t in [0.1, 0.4, 0.7, 1.0]:
            spread = 0.2 + 0.3 * max(0.0, (t - 0.2) / 0.8)
            c = 1.0 / spread - 1.0
            alpha = 1.0 - t
            own = c * (alpha + (1.0 - alpha) / text)
            other = c * (1.0 - alpha) / text
            law = stats.dirichlet([own] + [other] * (text - 1)) if other > 0 else None
            cases.append({
                "text": text,
                "time": t,
                "token": c * alpha,
                "rest": c * (1.0 - alpha),
                "mean": law.mean().tolist(),
                "variance": law.var().tolist(),
            })
    logs = []
    for a, b in [(0.05, 0.3), (0.4, 2.0), (3.0, 0.7)]:
        law = stats.beta(a, b)
        # In the logarithm, where the density is smooth however small the shapes are.
        density = lambda x: math.exp(law.logpdf(math.exp(x)) + x)
        total = integrate.quad(density, -700, -1e-12, limit=2000, points=[-100, -10, -1, -0.1])[0]
        moment = lambda n: integrate.quad(
            lambda x: x**n * density(x), -700, -1e-12, limit=2000, points=[-100, -10, -1, -0.1])[0]
        mean = moment(1) / total
        logs.append({"first": a, "second": b, "mean": mean, "variance": moment(2) / total - mean**2})
    return cases, logs


# --- Duo: the probability that the coordinate with the signal is the largest, as alpha of uniform diffusion. -------------


def duo():
    cases = []
    for text in [2, 5, 100, 1000, 50257]:
        for ratio in [0.0, 0.5, 1.5, 3.0, 5.0, 7.0]:
            f = lambda z: stats.norm.pdf(z - ratio) * math.exp((text - 1) * stats.norm.logcdf(z))
            largest = integrate.quad(f, ratio - 10, ratio + 10, limit=500, epsabs=1e-13, epsrel=1e-12)[0]
            cases.append({"text": text, "ratio": ratio, "alpha": (text * largest - 1) / (text - 1)})
    return cases


# --- Blocks: which of [noisy; clean] sees which (BD3-LM, 2503.09573, section 3.1 and appendix). --------------------------


def blocks():
    cases = []
    for length, block in [(4, 1), (4, 2), (6, 3), (8, 4), (8, 3)]:
        number = [position // block for position in range(length)]
        rows = []
        for query in range(2 * length):
            row = []
            for key in range(2 * length):
                q, k = number[query % length], number[key % length]
                noisy_query, noisy_key = query < length, key < length
                if noisy_query:
                    sees = q == k if noisy_key else k < q
                else:
                    sees = not noisy_key and k <= q
                row.append(int(sees))
            rows.append(row)
        cases.append({"length": length, "block": block, "sees": rows})
    return cases


if __name__ == "__main__":
    moments, logs = simplex()
    everything = {
        "discrete": discrete(),
        "gaussian": gaussian(),
        "simplex": moments,
        "log_beta": logs,
        "duo": duo(),
        "blocks": blocks(),
    }

    def rounded(value):
        if isinstance(value, float):
            return float(f"{value:.12g}")
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rounded(item) for item in value]
        return value

    target = pathlib.Path(__file__).with_name("processes.json")
    # One case to a line, so that a change can be read.
    parts = [
        f'"{name}": [\n' + ",\n".join(json.dumps(rounded(case)) for case in cases) + "\n]"
        for name, cases in everything.items()
    ]
    target.write_text("{" + ",\n".join(parts) + "}\n")
    print({name: len(cases) for name, cases in everything.items()}, target.stat().st_size, "bytes")
