"""The replicated state machine under CServer and Saga: a journal that says what happened, and who may write it."""
