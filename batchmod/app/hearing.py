"""What operators and other workers say to a run is heard wherever somebody works on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from batchmod.app.actions import parse_action
from batchmod.app.listening import Controls
from batchmod.app.post import EVERY, Post
from batchmod.cluster.campaigns import Campaign
from batchmod.cluster.lasting import goes_on
from batchmod.journal.postgres import Fence
from batchmod.model.events import StoppedBy
from batchmod.pg.link import FAILURES


@dataclass(kw_only=True)
class Hearing:
    """One of those who work on a run, under the lease of this fence; `news` is called when something was said."""

    post: Post
    run_id: str
    fence: Fence
    controls: Controls
    news: Callable[[Campaign], Awaitable[None]]
    said: int = -1  # how much of it holds here
    _leaving: bool = False

    async def catch_up(self) -> None:
        """All that was said so far holds here. Raises one of FAILURES when the database is away."""
        if self.said < 0:  # before the campaign is read: who says something after that knows to wait for this one
            await self.post.hears(self.run_id, self.fence, self.said)
        campaign = await self.post.campaign(self.run_id)
        if campaign is None or campaign.said == self.said:
            return
        self._apply(campaign)
        await self.news(campaign)
        await self.post.hears(self.run_id, self.fence, campaign.said)
        self.said = campaign.said

    async def listen(self) -> None:
        """The same again and again. A database that is away says nothing: that all is over then, the lease knows."""
        while goes_on():
            await asyncio.sleep(EVERY)
            try:
                await self.catch_up()
            except FAILURES:
                continue

    def _apply(self, campaign: Campaign) -> None:
        """In this order: what runs on slowly is better than what runs on fast for a moment."""
        controls = self.controls
        if campaign.changing is not None:
            controls.changing.set_limit(parse_action(f"changing={campaign.changing}").changing)
        if campaign.rate is not None:
            rate = parse_action(f"rate={campaign.rate}").rate
            assert rate is not None
            limits = controls.limits.at(rate)
            for pace in controls.paces:
                pace.set_rates(limits.rate_for)
        if campaign.stopping is not None:
            controls.halt.stop(campaign.stopping)
            if campaign.stopping is StoppedBy.CONTROL and not self._leaving:  # any other stop lets it settle to its end
                self._leaving = True
                asyncio.get_running_loop().call_later(self.post.options.drain, controls.halt.leave)
        elif campaign.paused:
            controls.halt.pause()
        else:
            controls.halt.go_on()
