"""Who moderates: the remote server where one is configured, and the lexicon by its name; else the
lexicon."""

from appliance.config.schema import ModerationConfig
from appliance.domain.chat.ports import MediaFetcher
from appliance.domain.errors import ConfigError
from appliance.domain.events.recorder import Recorder
from appliance.domain.moderation.lexicon.moderator import Lexicon
from appliance.domain.moderation.ports import Moderator
from appliance.domain.moderation.service import ModerationService
from appliance.infra.http.client import HttpClient
from appliance.infra.http.errors import Unsendable
from appliance.infra.moderation.remote import RemoteModerator


def make_moderation(
    config: ModerationConfig, http: HttpClient, fetcher: MediaFetcher, recorder: Recorder
) -> ModerationService:
    """The service of `POST /v1/moderations`.  Raises ConfigError for a URL that is none."""
    return ModerationService((*_remote(config, http, fetcher), Lexicon()), recorder)


def _remote(
    config: ModerationConfig, http: HttpClient, fetcher: MediaFetcher
) -> tuple[Moderator, ...]:
    if not config.url:
        return ()
    try:
        return (RemoteModerator(config, http, fetcher),)
    except Unsendable as exc:
        raise ConfigError(f"[moderation] url: {exc}") from exc
