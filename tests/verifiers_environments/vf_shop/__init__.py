"""An environment for verifiers of our own, that its real package plays: a counter with goods, and every way of going
wrong. ``behaves`` says which way."""

from vf_shop.tasks import ShopTaskset

__all__ = ["ShopTaskset"]
