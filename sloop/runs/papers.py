def citation(m, a):
    return ""


def methods(m):
    return ""
