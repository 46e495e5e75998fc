"""Numbers to words and pictures: docs/performance.md between its marks, docs/performance-*.svg."""

import os
import platform
import statistics
import subprocess

from subjects import ROOT

PAGE = ROOT / "docs/performance.md"


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release().split('-')[0]}, load {load:.1f} at the end"


def table(result):
    """One line a measure: each subject's median, then as a ratio to the first other one."""
    lines = [f"Measured on {machine()}; clients, subject and sink share the cores.", ""]
    names = list(dict.fromkeys(name for row in result["found"].values() for name in row))
    lines.append("| measure | " + " | ".join(names) + " | aim |")
    lines.append("|---|" + "--:|" * len(names) + "---|")
    for row in result["rows"]:
        found = result["found"][row.name]
        base = next((name for name in ("haproxy", "Postfix") if name in found), None)
        cells = []
        for name in names:
            if name not in found:
                cells.append("")
                continue
            runs = found[name]
            text = number(statistics.median(run[row.value] for run in runs))
            if base and name != base:
                ratios = [
                    run[row.value] / other[row.value]
                    for run, other in zip(runs, found[base]) if other[row.value]
                ]
                text += f" ({statistics.median(ratios):.2f})" if ratios else ""
            trouble = sum(run["failed"] + run["lost"] for run in runs)
            cells.append(text + (f", {trouble} failed" if trouble else ""))
        lines.append(f"| {row.name} | " + " | ".join(cells) + f" | {row.aim} |")
    if result["single"]:
        lines += ["", "| measure | found |", "|---|--:|"]
        lines += [f"| {name} | {number(value)} |" for name, value in result["single"].items()]
    return "\n".join(lines) + "\n"


AXES = {
    "clients": "clients at once", "size": "octets of a mail", "recipients": "recipients of a mail",
    "queued": "mails queued at start", "accounts": "accounts",
}


def curves(result):
    """A picture for each curve; the numbers beside it."""
    lines = []
    for name, series in result.items():
        svg = ROOT / f"docs/performance-{name}.svg"
        draw(svg, name, series)
        points = [point for point, _ in next(iter(series.values()))]
        lines += [f"![{AXES[name]}]({svg.name})", "", "| " + AXES[name] + " | " + " | ".join(f"{p:,}" for p in points) + " |"]
        lines.append("|---|" + "--:|" * len(points))
        unit = "ms of one mail" if name == "queued" else "CPU ms of one mail, clients and sink included"
        for subject, found in series.items():
            lines.append(f"| {subject}, {unit} | " + " | ".join(number(value) for _, value in found) + " |")
        lines.append("")
    return "\n".join(lines)


def draw(file, name, series):
    script = [
        "set terminal svg size 640,360 font 'sans,12'", f"set output '{file}'", "set logscale xy",
        f"set xlabel '{AXES[name]}'", "set ylabel 'ms of one mail'", "set key left top", "set grid",
    ]
    plots = []
    for index, (subject, points) in enumerate(series.items()):
        script.append(f"$set{index} << EOD")
        script += [f"{x} {y}" for x, y in points]
        script.append("EOD")
        plots.append(f"$set{index} with linespoints pointtype 7 title '{subject}'")
    script.append("plot " + ", ".join(plots))
    subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=True)


def instructions(result):
    lines = ["| work | instructions |", "|---|--:|"]
    return "\n".join(lines + [f"| `{name}` | {count:,} |" for name, count in result.items()])


def write(part, text):
    """Puts it between `<!-- part -->` and `<!-- end of part -->`."""
    page = PAGE.read_text()
    begin, end = f"<!-- {part} -->\n", f"<!-- end of {part} -->"
    if begin not in page:
        return
    before, rest = page.split(begin, 1)
    PAGE.write_text(before + begin + text.rstrip() + "\n" + end + rest.split(end, 1)[1])
