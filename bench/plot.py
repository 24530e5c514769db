"""Throughput against latency as an SVG file, written by hand: one line per engine, a point per load, latency on a log scale."""
import html
import math

COLOURS = ("#1f6f8b", "#d1495b", "#66a182", "#8d6a9f", "#edae49")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 400, 70, 40, 150, 50


def ticks_linear(high):
    step = 10 ** math.floor(math.log10(high))
    while high / step < 4:
        step /= 2
    return [step * i for i in range(int(high / step) + 1)]


def ticks_log(low, high):
    return [m * 10 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)
            if low <= m * 10 ** e <= high]


def svg(title, x_title, y_title, lines):
    """lines: [(name, [(x, y, label), ...])], x from 0, y > 0. Text of the file."""
    points = [p for _, line in lines for p in line if p[1] > 0]
    x_high = 1.08 * max(p[0] for p in points)
    y_low, y_high = 0.8 * min(p[1] for p in points), 1.25 * max(p[1] for p in points)

    def x_of(x):
        return LEFT + x / x_high * (WIDTH - LEFT - RIGHT)

    def y_of(y):
        return HEIGHT - BOTTOM - math.log(y / y_low) / math.log(y_high / y_low) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', f'<text x="{LEFT}" y="22" font-size="14">{html.escape(title)}</text>']
    for x in ticks_linear(x_high):
        out.append(f'<line x1="{x_of(x):.1f}" x2="{x_of(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>'
                   f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for y in ticks_log(y_low, y_high):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}" stroke="#ddd"/>'
                   f'<text x="{LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_title)}</text>')
    out.append(f'<text transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">{html.escape(y_title)}</text>')
    for i, (name, line) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        line = [p for p in line if p[1] > 0]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="' + " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y, _ in line) + '"/>')
        for x, y, label in line:
            out.append(f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{colour}"/>'
                       f'<text x="{x_of(x) + 6:.1f}" y="{y_of(y) - 6:.1f}" font-size="10">{html.escape(label)}</text>')
        out.append(f'<text x="{WIDTH - RIGHT + 12}" y="{TOP + 18 * i + 10}" fill="{colour}">{html.escape(name)}</text>')
    return "\n".join(out + ["</svg>", ""])
