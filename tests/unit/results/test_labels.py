from deleverage.results.labels import label_parts
from deleverage.results.schema import DIMENSIONS


def test_a_label_comes_apart():
    labels = {"market": ["exchange/WBETH-ETH/spot", "others/BTC/perp"], "venue": ["exchange"]}
    found = {part.name: part for part in label_parts(labels)}
    assert found["market_venue"].values == ["exchange", "others"]
    assert found["market_asset"].values == ["WBETH", "BTC"]
    assert found["market_kind"].values == ["spot", "perp"]
    assert found["market_asset"].long_name == "Asset of the market"
    assert found["peg_asset"].values == []
    assert {part.dim for part in found.values()} <= set(DIMENSIONS)
