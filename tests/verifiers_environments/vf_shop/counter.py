"""The tools."""

import verifiers.v1 as vf

PRICES = {"tea": 4, "salt": 2, "rice": 7, "oil": 9}


class Counter(vf.Toolset[vf.SharedToolsetConfig]):
    TOOL_PREFIX = "shop"

    @vf.tool
    def price(self, item: str, number: int = 1) -> str:
        """What so many of an item cost."""
        if item not in PRICES:
            raise ValueError(f"there is no {item}")
        return str(PRICES[item] * number)

    @vf.tool
    def sell(self, item: str) -> str:
        """Sell an item."""
        return f"sold {item}"


if __name__ == "__main__":
    Counter.run()
