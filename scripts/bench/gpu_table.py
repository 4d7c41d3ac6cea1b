"""The report of `gpu.py` as text: what was measured, on what, and what is only counted."""

from __future__ import annotations

from typing import Any

from counted import of_path_policy, of_series, of_step


def table(report: dict[str, Any]) -> str:
    """Every device, then all together."""
    lines = []
    for place, one in enumerate(report["devices"]):
        lines += [*_device(place, one), ""]
    together = report["path_policies_per_second"]
    lines.append(
        f"all {len(report['devices'])} devices at once, path-policies a second: "
        f"{together['scan']:,.0f} on the device, {together['storing']:,.0f} with storing"
    )
    lines.append(f"All of it took {report['seconds']:.0f} s.")
    return "\n".join(lines)


def _device(place: int, one: dict[str, Any]) -> list[str]:
    device, work, scan, cost = one["device"], one["work"], one["scan"], one["cost"]
    memory = f", {device['memory_mb']:,.0f} MB" if device["memory_mb"] else ""
    lines = [f"device {place}: {device['kind']} ({device['platform']}){memory}"]
    if device["platform"] == "cpu":
        lines.append("NOT A GPU: these are numbers of this processor")
    lines += [
        ", ".join(f"{name} {number}" for name, number in one["versions"].items())
        + f", kernel {one['kernel']}",
        f"{work['name']}: {work['policies']} policies in lanes of {work['lanes']}, "
        f"{work['cohorts']} cohorts, {work['steps']} steps, {work['dtype']}; blocks of "
        f"{work['block_paths']:,} paths",
        "",
        f"{'compile':28}{one['compile_seconds']:>16.1f} s",
        f"{'on the device':28}{scan['path_policies_per_second']:>16,.0f} path-policies/s  "
        f"({scan['slowest']:,.0f} to {scan['fastest']:,.0f}; {scan['paths']:,} paths)",
        f"{'with storing':28}{one['storing']['path_policies_per_second']:>16,.0f} "
        f"path-policies/s  ({one['storing']['bytes'] / 1e6:,.0f} MB)",
        f"{'most memory in use':28}{one['peak_memory_mb']:>16,.0f} MB  "
        f"(temporaries of the program: {cost['temporary_mb']:,.0f} MB)",
    ]
    if one["fused"]:
        fused = one["fused"]
        lines.append(
            f"{'on the device, fused':28}{fused['path_policies_per_second']:>16,.0f} "
            f"path-policies/s  (compile {fused['compile_seconds']:.1f} s)"
        )
    names = {"operations": ("matrix product", "TFLOP/s", 1e12), "bytes": ("copy", "GB/s", 1e9)}
    for name, (what, unit, scale) in names.items():
        peak = one["peak"][name]
        lines.append(f"{f'measured peak, {what}':28}{peak / scale:>16,.2f} {unit}")
        taken = of_path_policy(cost, name, work["steps"], work["policies"], work["lanes"])
        lines.append(
            f"{f'counted {name}, share':28}"
            f"{taken * scan['path_policies_per_second'] / peak:>16.1%}  "
            f"(XLA: {of_step(cost, name):,.0f} a path-policy and step, "
            f"{of_series(cost, name):,.0f} a path for its draws)"
        )
    return lines
