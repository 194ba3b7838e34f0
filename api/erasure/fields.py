"""What an erasure does with each member of a webhook's event. A unit test compares the lists with what the staging views read.

Of an event of the erased recipient only these members are left; objects and arrays always are. So a member that no list has goes,
such as an IP address, a place or a subject.
"""

from __future__ import annotations

# members with a recipient's address: it is replaced by a random one
ADDRESS_KEYS = (
    "Email",
    "Recipient",
    "destination",
    "email",
    "emailAddress",
    "recipient",
    "recipients",
    "to",
)
# headers with several addresses and the names of people
LIST_KEYS = (
    "Bcc",
    "Cc",
    "To",
    "bcc",
    "cc",
    "destination",
    "recipients",
    "targets",
    "to",
    "value",
)
# members with a text of the receiving server or of the provider: it is removed; that of a bounce keeps its reason
TEXT_KEYS = (
    "Description",
    "Details",
    "description",
    "diagnosticCode",
    "errorMessage",
    "message",
    "reason",
    "response",
    "smtpResponse",
)
# members that are removed although a staging view reads them
REMOVED_KEYS = (
    "OriginalLink",
    "UserAgent",
    "link",
    "url",
    "user-agent",
    "userAgent",
    "useragent",
)
# members without anything of a person: ids, types, times, codes
KEPT_KEYS = (
    "Body",
    "BouncedAt",
    "ChangedAt",
    "Date",
    "DeliveredAt",
    "Message",
    "MessageId",
    "MessageID",
    "ReceivedAt",
    "RecordType",
    "SuppressSending",
    "SuppressionReason",
    "Timestamp",
    "TopicArn",
    "Type",
    "TypeCode",
    "action",
    "anymail_id",
    "bot",
    "bounce-type",
    "bounceSubType",
    "bounceType",
    "bounce_classification",
    "campaign_id",
    "code",
    "complaintFeedbackType",
    "delayType",
    "domain_id",
    "enhanced-code",
    "event",
    "eventType",
    "event_id",
    "feedback-type",
    "id",
    "mailbox_id",
    "message-id",
    "messageId",
    "notificationType",
    "provider",
    "sg_event_id",
    "sg_machine_open",
    "sg_message_id",
    "severity",
    "smtp-id",
    "status",
    "subscriptionStatus",
    "time",
    "timestamp",
    "type",
    "unsubscribeAll",
)
