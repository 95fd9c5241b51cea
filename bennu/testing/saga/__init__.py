"""What tests of a saga are written with: given / when / then, on the code that runs in production."""

from bennu.testing.saga.given import ToldSaga, given_saga
from bennu.testing.saga.told import Signal, accepted, after, refused, unanswered

__all__ = ["Signal", "ToldSaga", "accepted", "after", "given_saga", "refused", "unanswered"]
