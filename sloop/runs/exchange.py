def croissant(m, a):
    return {}


def every_eval_ever(r, m):
    return {}


def eval_results(m, h):
    return {}
