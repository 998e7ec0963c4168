"""The inference role over HTTP: `/embed`, `/rerank` and `/info` as in text-embeddings-inference,
`/maxsim` beside them in the same shape, and health.

Statuses and `error_type` are that server's: 400 Empty, 413 Validation (a text or a batch too long),
422 Tokenizer (a body that is not understood), 424 Backend, 429 Overloaded.
"""

from appliance.transport.inference.app import build_inference_app
from appliance.transport.inference.services import RoleInfo, RoleServices

__all__ = ["RoleInfo", "RoleServices", "build_inference_app"]
