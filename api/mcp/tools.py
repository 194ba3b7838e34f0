"""The tools: few, each for a kind of question. Results have the definitions of their numbers, and intervals.

Their descriptions and arguments are what an agent reads before its first call, so they are short. Arguments that are wrong are
refused by the API, with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import quote

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from api.mcp.answers import answer
from api.mcp.contract import ContractTexts
from api.mcp.rest import RestApi

INSTRUCTIONS = """\
mailmart has the numbers of a workspace's e-mail: sent, delivered, bounced, opened, clicked, replied to, complaints.
Rates are in per cent: delivery and bounce rates of sent mail, all others of delivered mail. Days are UTC, by the day of sending.
Opens and clicks include machines (privacy proxies, scanners); names with `human` do not.
`low` and `high` are a rate's 95 % interval: two rates whose intervals overlap widely do not differ.
Begin with list_metrics for a question by dimension, with list_entities to find ids, with data_status if a number is zero."""

Window = Literal["7d", "30d", "90d", "custom"]
TimeRange = Annotated[
    Window, Field(description="Today and the days before it (UTC); custom: start_date to end_date, both included.")
]
Day = Annotated[str | None, Field(description="YYYY-MM-DD, only with time_range=custom.")]
CampaignId = Annotated[str, Field(description="From list_entities.")]
OptionalCampaign = Annotated[str | None, Field(description="Only this campaign.")]
Zone = Annotated[str | None, Field(description="IANA time zone, such as Europe/Berlin.")]


class Filter(BaseModel):
    """Only rows whose dimension has, or does not have, one of the values."""

    dimension: str
    operator: Literal["in", "not_in"] = "in"
    values: list[str]


class Order(BaseModel):
    """A metric, a dimension or `time`."""

    field: str
    direction: Literal["asc", "desc"] = "desc"


RestOf = Callable[[Context[Any, Any]], RestApi]


def register(server: MCPServer[Any], rest_of: RestOf, texts: ContractTexts) -> None:
    """Adds the tools to the server. `rest_of` makes the API for a call's credential."""
    tool = server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False), structured_output=False)

    @tool
    async def list_metrics(
        context: Context[Any, Any],
        search: Annotated[str, Field(description="Only names or descriptions that contain this.")] = "",
    ) -> str:
        """The metrics and dimensions of `query`, with their definitions."""
        metrics, dimensions = await texts.query_names(rest_of(context))

        def found(names: dict[str, str]) -> list[dict[str, str]]:
            wanted = search.casefold()
            return [{"name": name, "definition": text} for name, text in names.items() if wanted in f"{name} {text}".casefold()]

        return answer({"metrics": found(metrics), "dimensions": found(dimensions)}, {})

    @tool
    async def query(
        context: Context[Any, Any],
        metrics: Annotated[list[str], Field(description="1 to 20 names of list_metrics.")],
        dimensions: Annotated[
            list[str] | None, Field(description="Up to 3 names of list_metrics; rows have their values.")
        ] = None,
        filters: list[Filter] | None = None,
        time_range: TimeRange = "30d",
        start_date: Day = None,
        end_date: Day = None,
        granularity: Annotated[
            Literal["hour", "day", "week", "month"] | None, Field(description="A row for each; none: the whole window.")
        ] = None,
        timezone: Zone = None,
        basis: Annotated[Literal["sent", "event"], Field(description="By the day of sending, or of the event.")] = "sent",
        compare: Annotated[
            Literal["previous_period", "previous_year"] | None, Field(description="Adds the previous value and the change.")
        ] = None,
        order_by: list[Order] | None = None,
        limit: Annotated[int, Field(ge=1, le=1000)] = 50,
    ) -> str:
        """Any metrics by any dimensions: by campaign, mailbox, domain, recipient provider, step, variant, link, day, hour."""
        body = {
            "metrics": metrics,
            "dimensions": dimensions,
            "filters": [item.model_dump() for item in filters] if filters else None,
            "time_range": time_range,
            "start_date": start_date,
            "end_date": end_date,
            "granularity": granularity,
            "timezone": timezone,
            "basis": basis,
            "compare": compare,
            "order_by": [item.model_dump() for item in order_by] if order_by else None,
            "limit": limit,
        }
        response = await rest_of(context).post("/analytics/query", body)
        meta = response["meta"]
        definitions = {name: text["description"] for name, text in (meta.get("definitions") or {}).items()}
        more = ["There are more rows: raise limit, or filter."] if meta.get("next_cursor") else None
        return answer({**response["data"], "data_as_of": meta.get("data_as_of")}, definitions, more)

    @tool
    async def list_entities(
        context: Context[Any, Any],
        kind: Literal["campaigns", "mailboxes", "domains"],
        search: Annotated[str | None, Field(description="Only ids and names that contain this.")] = None,
        sort: Annotated[str | None, Field(description="A count or rate of the rows; default: emails_sent.")] = None,
        order: Literal["asc", "desc"] | None = None,
        time_range: TimeRange = "30d",
        start_date: Day = None,
        end_date: Day = None,
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> str:
        """Campaigns, mailboxes or sending domains: ids, names, counts and rates in the window."""
        response = await rest_of(context).get(
            f"/{kind}",
            search=search,
            sort=sort,
            order=order,
            limit=limit,
            timeRange=time_range,
            startDate=start_date,
            endDate=end_date,
        )
        data = {name: value for name, value in response["data"].items() if name != "next_cursor"}
        more = ["There are more: raise limit, or search."] if response["data"].get("next_cursor") else None
        operation = {"campaigns": "getCampaigns", "mailboxes": "getMailboxes", "domains": "getDomains"}[kind]
        return answer(data, await texts.definitions(rest_of(context), operation), more)

    @tool
    async def mailbox_health(
        context: Context[Any, Any],
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> str:
        """Health score of each mailbox, the worst first, with the cost of each factor: which mailboxes should stop sending."""
        response = await rest_of(context).get("/mailboxes/health", limit=limit, sort="health_score", order="asc")
        data = {name: value for name, value in response["data"].items() if name != "next_cursor"}
        return answer(data, await texts.definitions(rest_of(context), "getMailboxHealth"))

    @tool
    async def campaign_report(
        context: Context[Any, Any],
        campaign_id: CampaignId,
        time_range: TimeRange = "30d",
        start_date: Day = None,
        end_date: Day = None,
        group_by: Literal["day", "week", "month"] = "week",
    ) -> str:
        """One campaign: counts, rates, both also without machines, and a time series."""
        response = await rest_of(context).get(
            f"/campaigns/{quote(campaign_id, safe='')}/analytics",
            timeRange=time_range,
            startDate=start_date,
            endDate=end_date,
            groupBy=group_by,
        )
        return answer(response["data"], await texts.definitions(rest_of(context), "getCampaignAnalytics"))

    @tool
    async def workspace_report(
        context: Context[Any, Any], time_range: TimeRange = "30d", start_date: Day = None, end_date: Day = None
    ) -> str:
        """All mail of the workspace: counts, rates, both also without machines, and the best campaigns."""
        response = await rest_of(context).get("/analytics/overview", timeRange=time_range, startDate=start_date, endDate=end_date)
        return answer(response["data"], await texts.definitions(rest_of(context), "getWorkspaceOverview"))

    @tool
    async def compare_campaigns(
        context: Context[Any, Any],
        campaign_ids: Annotated[list[str], Field(description="2 to 10 ids of list_entities.")],
        metrics: Annotated[
            list[str] | None, Field(description="Such as open_rate, human_open_rate, click_rate, reply_rate.")
        ] = None,
        time_range: TimeRange = "30d",
        start_date: Day = None,
        end_date: Day = None,
    ) -> str:
        """Which of some campaigns is better, and whether the difference is significant: intervals, p-values, the winner."""
        body = {
            "campaign_ids": campaign_ids,
            "metrics": metrics,
            "time_range": time_range,
            "start_date": start_date,
            "end_date": end_date,
        }
        response = await rest_of(context).post("/analytics/compare", body)
        return answer(response["data"], await texts.definitions(rest_of(context), "compareCampaigns"))

    @tool
    async def deliverability(
        context: Context[Any, Any],
        time_range: Literal["7d", "30d", "90d"] = "30d",
        campaign_id: OptionalCampaign = None,
        domain_id: Annotated[str | None, Field(description="Only this sending domain.")] = None,
    ) -> str:
        """Bounces and their reasons, complaints, the health score and its trend, block lists."""
        response = await rest_of(context).get(
            "/analytics/deliverability", timeRange=time_range, campaignId=campaign_id, domainId=domain_id
        )
        return answer(response["data"], await texts.definitions(rest_of(context), "getDeliverability"))

    @tool
    async def best_send_time(
        context: Context[Any, Any],
        time_range: Literal["7d", "30d", "90d"] = "90d",
        campaign_id: OptionalCampaign = None,
        timezone: Zone = None,
    ) -> str:
        """The best time to send, or why there is none, and engagement by weekday and period of the day."""
        response = await rest_of(context).get(
            "/analytics/engagement-heatmap", timeRange=time_range, campaignId=campaign_id, timezone=timezone
        )
        return answer(response["data"], await texts.definitions(rest_of(context), "getEngagementHeatmap"))

    @tool
    async def data_status(context: Context[Any, Any]) -> str:
        """How fresh the numbers are, which received data are not counted, and from which providers: why a number is zero."""
        rest = rest_of(context)
        data: dict[str, Any] = {}
        definitions: dict[str, str] = {}
        for name, path, operation in (
            ("freshness", "/analytics/freshness", "getFreshness"),
            ("data_quality", "/analytics/data-quality", "getDataQuality"),
            ("sources", "/analytics/sources", "getSources"),
        ):
            data[name] = (await rest.get(path))["data"]
            definitions |= await texts.definitions(rest, operation)
        return answer(data, definitions)
