"""What HTTP statuses say of a further attempt: where another backend might do better, what was not taken."""

from __future__ import annotations

from typing import Final

ANOTHER_MIGHT: Final = frozenset({429, 502, 503, 504})
"""What backends and their proxies answer when another one might do better (llm-d.md A4). Not 500: it may be
the request itself."""
OF_THE_MOMENT: Final = frozenset({408, 425, 429})
"""Of the statuses below 500 those that speak of the moment and not of the request."""
NOT_TAKEN: Final = OF_THE_MOMENT | {503, 529}
"""Those that say `I did not take it`; after any other somebody behind the backend may have."""
