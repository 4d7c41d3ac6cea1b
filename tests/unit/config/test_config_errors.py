"""Bad input: one sentence with file, line, key, what came, what is allowed, what to do."""

import re
from pathlib import Path

import pytest

from deleverage.config import build, load_config
from deleverage.errors import ConfigError

ROOT = Path(__file__).parents[3]
SMOKE = (ROOT / "configs" / "smoke.yaml").read_text()

# What is replaced in configs/smoke.yaml, by what, and what the sentence must say.
CASES = {
    "an unknown key": ("paths: 256", "pathz: 256", "pathz: .*unknown.*dtype.*mean `paths`"),
    "no level of an error": (
        "paths: 256",
        "paths: {at_most: 256, until: {variable: bad_debt, measure: quantile, relative_error: 1%}}",
        "paths.until: q None; allowed is a level between 0 and 1; add q to quantile",
    ),
    "an error of nothing": (
        "paths: 256",
        "paths: {at_most: 256, until: {variable: bad_debt, relative_error: 0}}",
        r"until.relative_error: 0 came; allowed is a share in \(0, 1\]",
    ),
    "no error": (
        "paths: 256",
        "paths: {at_most: 256, until: {variable: bad_debt}}",
        "until.relative_error: `relative_error` is missing",
    ),
    "no end of paths": (
        "paths: 256",
        "paths: {until: {variable: bad_debt, relative_error: 1%}}",
        "paths.at_most: `at_most` is missing",
    ),
    "an unknown key of paths": (
        "paths: 256",
        "paths: {at_mst: 256, until: {variable: bad_debt, relative_error: 1%}}",
        "paths.at_mst: .*unknown.*mean `at_most`",
    ),
    "a first look after the end": (
        "paths: 256",
        "paths: {at_most: 256, at_least: 300, until: {variable: bad_debt, relative_error: 1%}}",
        "paths: at_least 300 with at_most 256; .*raise at_most",
    ),
    "an unknown key inside": ("{own: 1}", "{owns: 1}", "USDe.owns: .*unknown.*mean `own`"),
    "an unknown key of a policy": ("floor: 97%", "flor: 97%", "USDe.flor: .*mean `floor`"),
    "an unknown lever": ("{collateral: {USDe: {parity", "{colateral: {USDe: {parity", "mean `col"),
    "no unit": ("step: 30s", "step: 30", "time.step: 30 came; .*unit.*write 30s"),
    "a wrong unit": ("step: 30s", "step: 30USD", "time.step: '30USD' came; .*unit"),
    "money in seconds": ("fund: 20M", "fund: 20s", "backstop.fund: '20s' came; .*USD"),
    "index weights": ("{own: 1}", "{own: 0.5}", "index.USDe: weights that sum to 0.5; .*sum to 1"),
    "collateral shares": ("USDe: 50%}", "USDe: 60%}", "collateral: shares that sum to 1.1; .*to 1"),
    "perp weights": ("perps: BTC\n", "perps: {BTC: 0.9}\n", "perps: absolute weights .* 0.9; .*1"),
    "empty weights": ("{USDT: 50%, USDe: 50%}", "{}", "collateral: an empty mapping"),
    "a missing anchor": ("anchor: USDT, ", "", "USDe.anchor: `anchor` is missing; .*pegged asset"),
    "an unknown anchor": ("anchor: USDT", "anchor: USD", "the asset 'USD' is unknown; .*USDT, BTC"),
    "positions that cannot balance": (
        "match_share: 95%",
        "match_share: 50%",
        "BTC/perp do not bal",
    ),
    "a match of nothing": ("side: short", "side: long", "open_interest: nothing to match"),
    "depth 0": ("depth_1pct: 50M", "depth_1pct: 0", "depth_1pct: 0 came; .*above 0, or `infinite`"),
    "no depth": ("{depth_1pct: 50M, ", "{", "BTC/spot: neither or both .*exactly one"),
    "a haircut above 1": ("haircut: 10%", "haircut: 110%", r"haircut: '110%' came; .*\[0, 1\]"),
    "a haircut below 0": ("haircut: 10%", "haircut: -0.1", r"haircut: -0.1 came; .*\[0, 1\]"),
    "two haircuts": (
        "haircut: 10%",
        "haircut: 10%, tiers: [[0, 1]]",
        "haircut and tiers; .*one of",
    ),
    "a queue of another kind": (
        "fund: 10M, adl: true",
        "fund: 10M, adl: score",
        "backstop.adl: 'score' came; .*false, pro_rata or queue",
    ),
    "a loss of an issuer that is not modelled": (
        "    outages: [{",
        "    backing: [{kind: macro, asset: USDe, share: 30%}]\n    outages: [{",
        r"backing.0.asset: a loss of what backs 'USDe'.*add scenario.assets.USDe.issuer",
    ),
    "a loss of everything": (
        "    outages: [{",
        "    backing: [{kind: macro, asset: USDe, share: 100%}]\n    outages: [{",
        r"share: '100%' came; .*\[0, 0.9999\]",
    ),
    "an issuer that is short at the start": (
        "redemption_capacity: 1M",
        "issuer: {supply: 1bn, backing: 95%}",
        "issuer: .*at least 100% of the supply",
    ),
    "a reserve of an issuer that is not modelled": (
        "  no_parity:",
        "  reserve: {issuer: {USDe: {reserve_share: 5%}}}\n  no_parity:",
        "reserve_share: a reserve of 'USDe', whose issuer is not modelled",
    ),
    "a hedge of an issuer that is not modelled": (
        "    usde_loops:",
        "    hedge: {kind: hedged, venue: exchange, asset: BTC, issuer: USDe, open_interest: 1M, "
        "leverage: 1}\n    usde_loops:",
        "hedge.issuer: a hedge of 'USDe', whose issuer is not modelled",
    ),
    "a mix of hedges that is not whole": (
        "  no_parity:",
        "  moved: {issuer: {USDe: {hedge: {others: 80%}}}}\n  no_parity:",
        "hedge: '0.8' came; .*sum to 1",
    ),
    "a hedge where there is none": (
        "  no_parity:",
        "  moved: {issuer: {USDe: {hedge: {others: 1}}}}\n  no_parity:",
        "hedge.others: a hedge of 'USDe' on 'others', where its issuer has no book",
    ),
    "an issuer of a coin": (
        "  no_parity:",
        "  reserve: {issuer: {BTC: {capacity: 5M}}}\n  no_parity:",
        "issuer.BTC: 'BTC' has no issuer; allowed.*pegged",
    ),
    "a seed too large": (
        "seed: 20251010",
        f"seed: {2**32}",
        r"seed: 4294967296 came; .*\[0, 2\^32",
    ),
    "a negative seed": ("seed: 20251010", "seed: -1", r"seed: -1 came; .*\[0, 2\^32"),
    "a missing include": (
        "scenario:\n",
        "scenario:\n  include: no.yaml\n",
        "'no.yaml' does not exist",
    ),
    "a policy named twice": (
        "  no_parity:",
        "  baseline: {}\n  no_parity:",
        "policies.baseline: the policy 'baseline' is given twice .*line 72",
    ),
    "a key named twice": (
        "seed: 20251010",
        "seed: 1\nseed: 2",
        "seed: the key 'seed' is given twice",
    ),
    "no baseline": ("  baseline: {}\n", "", "policies: the policy `baseline` is missing"),
    "an empty policy": ("baseline: {}", "baseline:", "policies.baseline: nothing came; .*mapping"),
    "an unknown kind": ("kind: loan", "kind: laon", "the kind 'laon' came; .*'loan'.*mean `loan`"),
    "no kind": ("{kind: lognormal, median: 10", "{median: 10", "leverage: `kind` is missing"),
    "a pair quoted in the numeraire": (
        "exchange/USDe/spot:",
        "exchange/USDe-USDT/spot:",
        "'exchange/USDe-USDT/spot', quoted in the numeraire; .*; write exchange/USDe/spot.$",
    ),
    "a pair of one asset": (
        "others/USDe/spot:",
        "others/USDe-USDe/spot:",
        "quoted in the asset itself; .*; write others/USDe/spot.$",
    ),
    "a pair quoted in what is unknown": (
        "others/USDe/spot:",
        "others/USDe-BTX/spot:",
        "the quote asset 'BTX' is unknown; allowed is BTC; did you mean 'BTC'",
    ),
    "an index of the numeraire": (
        "{index: {USDe: {redemption: 100%, floor: 97%}}}",
        "{index: {USDT: {smoothing: 5m}}}",
        "policies.redemption_index.index.USDT: 'USDT' is the numeraire; allowed is other assets",
    ),
    "an index of all assets": (
        "{index: {USDe:",
        '{index: {"*":',
        r"index.\*: the asset '\*' is unknown; allowed is USDT, BTC, USDe",
    ),
    "collateral of all assets": (
        "{collateral: {USDe:",
        '{collateral: {"*":',
        r"policies.no_parity.collateral.\*: the asset '\*' is unknown; allowed is USDT, BTC, USDe",
    ),
    "maintenance of all assets": (
        "{collateral: {USDe: {parity: false}}}",
        '{leverage: {maintenance: {"*": 1%}}}',
        r"leverage.maintenance.\*: the asset '\*' is unknown; allowed is USDT, BTC, USDe",
    ),
    "a venue that is left out": (
        "{collateral: {USDe:",
        '{collateral: {"USDe@":',
        "policies.no_parity.collateral.USDe@: the venue '' is unknown; allowed is exchange, others",
    ),
    "an unknown market": ("exchange/BTC/perp: {", "exchnge/BTC/perp: {", "mean 'exchange'"),
    "an unknown asset": ("{USDe: {parity", "{USDE: {parity", "asset 'USDE' is unknown; .*'USDe'"),
    "an unknown venue": (
        "venue: exchange, start",
        "venue: exchang, start",
        "outages.0.venue: .*'exc",
    ),
    "a shock that arrives twice": (
        "duration: 8m",
        "duration: 8m\n      profile: [[0m, 1]]",
        "macro: a duration and a profile; .*one of the two",
    ),
    "a profile that falls": (
        "duration: 8m",
        "profile: [[0m, 0], [2m, 60%], [3m, 50%], [9m, 1]]",
        r"macro: the profile \[0m, 0%\], \[2m, 60%\].*never falling, to 100%",
    ),
    "a profile that stops short": (
        "duration: 8m",
        "profile: [[0m, 0], [2m, 60%]]",
        "macro: the profile .*to 100%",
    ),
    "a profile that begins late": (
        "duration: 8m",
        "profile: [[1m, 0], [2m, 1]]",
        "macro: the profile .*times rising from 0m",
    ),
    "too few degrees of freedom": (
        "{kind: lognormal, median: 8%, sigma: 0.4, cap: 60%}",
        "{kind: student_t, centre: 5%, scale: 3%, degrees: 0.5}",
        r"degrees: 0.5 came; .*degrees of freedom in \[1, 10000\]",
    ),
    "a load outage in dollars": (
        "outages: [{kind: scheduled, venue: exchange, start: 4m, length: 6m}]",
        "outages: [{kind: load, venue: exchange, threshold: 0, rate: 1, length: 6m}]",
        "outages.0.threshold: 0 came; .*USD.*above 0",
    ),
    "a load outage of another law": (
        "outages: [{kind: scheduled, venue: exchange, start: 4m, length: 6m}]",
        "outages: [{kind: load, venue: exchange, threshold: 1M, rate: 1, length: 6m, law: normal}]",
        "outages.0.law: 'normal' came; .*`fixed`, `exponential`",
    ),
    "a halt of an unknown venue": (
        "outages: [{kind: scheduled, venue: exchange",
        "halts: [{kind: scheduled, venue: exchang",
        "halts.0.venue: .*mean 'exchange'",
    ),
    "a glitch of no index": (
        "outages: [{kind: scheduled, venue: exchange, start: 4m, length: 6m}]",
        "glitches: [{venue: exchange, asset: USDT, factor: 90%, start: 4m, length: 6m}]",
        "glitches.0.asset: the index 'USDT' is unknown; .*BTC",
    ),
    "a glitch to nothing": (
        "outages: [{kind: scheduled, venue: exchange, start: 4m, length: 6m}]",
        "glitches: [{venue: exchange, factor: 0, start: 4m, length: 6m}]",
        "glitches.0.factor: 0 came; .*above 0",
    ),
    "a sale on no market": (
        "outages: [{kind: scheduled, venue: exchange, start: 4m, length: 6m}]",
        "sales: [{market: exchange/BTC/sport, size: 10M, duration: 6m}]",
        "sales.0.market: .*mean 'exchange/BTC/spot'",
    ),
    "a sale at once": (
        "outages: [{kind: scheduled, venue: exchange, start: 4m, length: 6m}]",
        "sales: [{market: exchange/BTC/spot, size: 10M, duration: 0s}]",
        "sales.0.duration: '0s' came; .*above 0",
    ),
    "collateral not accepted": ("collateral: USDe\n", "collateral: BTC\n", "'BTC' is not accepted"),
    "a loan against cash": (
        "collateral: USDe\n",
        "collateral: USDT\n",
        "usde_loops.collateral: a loan of 'usde_loops' that buys nothing but the numeraire",
    ),
    "no maintenance rate": (
        "maintenance: {BTC: 0.5%}",
        "maintenance: {}",
        "no maintenance rate for",
    ),
    "tiers that fall": ("1M, 1%", "1M, 0.1%", "maintenance.BTC: .*rates that rise"),
    "tiers not from 0": ("[[0, 0.5%]", "[[1, 0.5%]", "maintenance.BTC: .*starts at 0"),
    "redemption without issuer": ("{USDe: {own: 1}}", "{BTC: {redemption: 1}}", "has no issuer"),
    "a loan below leverage 1": ("[2, 3, 4]", "[0.5, 3, 4]", "leverage: a loan at leverage 0.5"),
    "too many buckets": ("[2, 3, 4]", "[2, 3, 4, 5, 6]", "leverage: 5 buckets .*at most 4"),
    "steps off the grid": ("steps: 24}", "steps: 24, draw_step: 20s}", "step that is a multiple"),
    "a bad time": ('"2025-10-10T20:50Z"', '"yesterday"', "start: 'yesterday' came; .*ISO"),
    "a bad truth value": ("loop: true", "loop: maybe", "loop: 'maybe' came; .*true or false"),
    "broken YAML": ("seed: 20251010", "seed: [1", "this is not YAML"),
    "an unknown result": (
        "policies:\n",
        "results: {markets: [exchange/BTC/prp]}\npolicies:\n",
        "results.markets.0: .*mean 'exchange/BTC/perp'",
    ),
    "a cap that nobody answers to": (
        "  no_parity: {",
        "  x: {leverage: {cap: 5}, participation: {kind: hold}}\n  no_parity: {",
        "policies.x.leverage: .*`rescale`",
    ),
    "an asset of a grid": (
        "policies:\n",
        "sweep: {grid: {leverage.cap.USDe: [3]}}\npolicies:\n",
        "sweep.grid.leverage.cap.USDe: a leverage cap of 'USDe', of which nobody holds a perp",
    ),
    "an asset of a nested zip": (
        "policies:\n",
        "sweep:\n  zip: {liquidation.pace: [1]}\n  grid:\n"
        "    index: {USDX: {floor: [90%]}}\npolicies:\n",
        "sweep.grid.index.USDX.floor: the asset 'USDX' is unknown; ",
    ),
    "an override of a grid": (
        "policies:\n",
        "sweep: {grid: {scenario.shocks.macro.severity.value: [1%]}}\npolicies:\n",
        "sweep.grid.scenario.shocks.macro.severity.value: the key 'value' is unknown; ",
    ),
    "a level of a mean": (
        "paths: 256",
        "paths: {at_most: 256, until: {variable: bad_debt, q: 99%, relative_error: 1%}}",
        "paths.until: q beside `mean`; allowed is mean with none of q, tail, above",
    ),
    "a threshold of a shortfall": (
        "policies:\n",
        "attribution: {causes: {a: {liquidation: {pace: 1}}}, measures: [{variable: bad_debt, "
        "measure: expected_shortfall, q: 99%, above: 0}]}\npolicies:\n",
        "measures.0: above beside `expected_shortfall`; allowed is expected_shortfall with",
    ),
    "a tail of a quantile": (
        "paths: 256",
        "paths: {at_most: 256, until: {variable: bad_debt, measure: quantile, q: 99%, tail: lower, "
        "relative_error: 1%}}",
        "paths.until: tail beside `quantile`; allowed is quantile with q; remove tail",
    ),
    "a threshold that is no number": (
        "paths: 256",
        "paths: {at_most: 256, until: {variable: bad_debt, measure: probability, above: nan, "
        "relative_error: 1%}}",
        "paths.until.above: 'nan' came; allowed is a finite number",
    ),
    "an asset of a cause": (
        "policies:\n",
        "attribution: {causes: {own_book: {index: {USDX: {floor: 90%}}}}}\npolicies:\n",
        "attribution.causes.own_book.index.USDX.floor: the asset 'USDX' is unknown",
    ),
    "an override of a cause": (
        "policies:\n",
        "attribution: {causes: {calm: {scenario: {shocks: {outagez: []}}}}}\npolicies:\n",
        "attribution.causes.calm.scenario.shocks.outagez: the key 'outagez' is unknown",
    ),
    "a cause without a name": (
        "policies:\n",
        'attribution: {causes: {"": {index: {USDe: {floor: 90%}}}}}\npolicies:\n',
        "attribution.causes: a cause called ''; ",
    ),
    "participation of a cause": (
        "policies:\n",
        "attribution: {causes: {held: {participation: {kind: rescale}}}}\npolicies:\n",
        "attribution.causes.held.participation: participation without 'held'; .*positions are held",
    ),
    "participation of the baseline": (
        "baseline: {}",
        "baseline: {participation: {kind: hold}}",
        "policies.baseline.participation: participation of the baseline; ",
    ),
    "an alias of what it stands in": (
        "baseline: {}",
        "baseline: &rules {index: *rules}",
        "policies.baseline.index: an alias of what it stands in; .*; write it out.",
    ),
    "a list as a key": (
        "  baseline: {}",
        "  baseline: {}\n  ? [a, b]\n  : {}",
        "policies: a list as a key; allowed is names as keys",
    ),
    "an empty label": (
        "  no_parity:",
        '  "": {}\n  no_parity:',
        "policies: a policy with the label ''; allowed is labels in print; rename it.",
    ),
    "a label of two lines": (
        "  no_parity:",
        '  "a\\nb": {}\n  no_parity:',
        r"policies: a policy with the label 'a\\nb'; allowed is labels in print",
    ),
    "an unknown lever in a grid": (
        "policies:\n",
        'sweep: {grid: {"collateral.USDe.hairct": [0]}}\npolicies:\n',
        "sweep.grid.collateral.USDe.hairct: .*unknown.*mean `haircut`",
    ),
    "lists of two lengths in a zip": (
        "policies:\n",
        'sweep: {zip: {"marketing.uptake": [1, 0], "liquidation.pace": [1]}}\npolicies:\n',
        "sweep: a zip of 2 of 'marketing.uptake', 1 of 'liquidation.pace'; .*lists of one length",
    ),
    "an unknown lever in a zip": (
        "policies:\n",
        'sweep: {zip: {"liquidation.pase": [1]}}\npolicies:\n',
        "sweep.zip.liquidation.pase: .*unknown.*mean `pace`",
    ),
    "a sweep without levers": ("policies:\n", "sweep: {}\npolicies:\n", "sweep: no lever; "),
    "a lever without values": (
        "policies:\n",
        'sweep: {grid: {"liquidation.pace": []}}\npolicies:\n',
        "sweep: no value for 'liquidation.pace'; ",
    ),
    "a lever in two sweeps": (
        "policies:\n",
        'sweep: {grid: {"liquidation.pace": [1]}, zip: {liquidation: {pace: [2]}}}\npolicies:\n',
        "sweep: the lever 'liquidation.pace' twice; ",
    ),
    "an entry twice": (
        "policies:\n",
        'sweep: {grid: {"liquidation.pace": [1, 1]}}\npolicies:\n',
        "sweep: the entry 'liquidation.pace=1' exists already; ",
    ),
    "a number of points that is no power of two": (
        "policies:\n",
        'sweep: {sobol: {ranges: {"liquidation.pace": [0, 1]}, count: 12}}\npolicies:\n',
        "sweep.sobol.count: 12 came; .*power of two",
    ),
    "a range in two units": (
        "policies:\n",
        'sweep: {sobol: {ranges: {"backstop.exchange.fund": [1M, 1bn]}, count: 2}}\npolicies:\n',
        "sweep.sobol.ranges.backstop.exchange.fund: .*same unit",
    ),
    "a range upside down": (
        "policies:\n",
        'sweep: {sobol: {ranges: {"liquidation.pace": [1, 0]}, count: 2}}\npolicies:\n',
        "sweep.sobol.ranges.liquidation.pace: .*a low end below",
    ),
    "a range of words": (
        "policies:\n",
        'sweep: {sobol: {ranges: {"liquidation.kind": [close, target]}, count: 2}}\npolicies:\n',
        "sweep.sobol.ranges.liquidation.kind: .*two numbers",
    ),
    "a value out of range in a grid": (
        "policies:\n",
        'sweep: {grid: {"collateral.USDe.haircut": [0, 500%]}}\npolicies:\n',
        "sweep.grid.collateral.USDe.haircut: '500%' came",
    ),
}


# Lines of configs/smoke.yaml that a sentence names instead of the line that was changed.
ELSEWHERE = {
    "an empty label": [71],
    "a label of two lines": [71],
    "positions that cannot balance": [39],
    "no baseline": [71],
    "a shock that arrives twice": [63],
    "a profile that falls": [63],
    "a profile that stops short": [63],
    "a profile that begins late": [63],
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence(case, tmp_path):
    old, new, said = CASES[case]
    assert old in SMOKE
    path = tmp_path / "bad.yaml"
    path.write_text(SMOKE.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        build(load_config(path))
    text = str(caught.value)
    line = SMOKE[: SMOKE.index(old)].count("\n") + 1
    named = re.match(rf"{re.escape(str(path))}:(\d+): ", text)
    assert named, text
    # The line that was changed; where a key is missing or a whole part is wrong, that part's.
    where = ELSEWHERE.get(case, range(line, line + max(1, new.count("\n")) + 1))
    assert int(named[1]) in where, text
    assert re.search(said, text), text
    assert "; allowed is " in text
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time.steps", "key=value"),
        ("time.stepz=5", "mean `step"),
        ("time.steps=0", "time.steps: 0 came"),
        ("scenario.books.usde_loops.leverage.values.7=3", "a number from 0 to 2"),
        ("name.x=3", "a mapping to go into"),
        ("seed=[1", "a YAML value"),
        ("policies.x=&all {index: *all}", "policies.x.index: an alias of what it stands in"),
    ],
)
def test_a_bad_override_names_itself(text, said):
    with pytest.raises(ConfigError, match=re.escape(f"--set {text}: ")) as caught:
        load_config(ROOT / "configs" / "smoke.yaml", [text])
    assert re.search(said, str(caught.value))


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: the config cannot be read \(No such file"):
        load_config(tmp_path / "none.yaml")


def test_an_error_in_an_included_file_names_that_file(tmp_path):
    head, scenario = SMOKE.split("scenario:\n")
    scenario, policies = scenario.split("\npolicies:\n")
    (tmp_path / "inner.yaml").write_text(scenario.replace("haircut: 10%", "haircut: 2"))
    outer = tmp_path / "outer.yaml"
    outer.write_text(f"{head}scenario: {{include: inner.yaml}}\npolicies:\n{policies}")
    with pytest.raises(
        ConfigError, match=r"inner\.yaml:\d+: scenario\.venues\.exchange\.collateral"
    ):
        load_config(outer)


def test_files_that_include_each_other(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("scenario: {include: a.yaml}\n")
    with pytest.raises(ConfigError, match="includes itself"):
        load_config(path)
