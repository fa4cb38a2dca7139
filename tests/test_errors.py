"""What errors may say."""

from sources.braze.errors import redact


def test_redaction_covers_secrets_and_signed_urls() -> None:
    text = "Invalid API key: k-1; see https://u:p@bucket.s3.amazonaws.com/a.zip?X-Amz-Signature=abc&b=1."
    assert redact(text, ["k-1"]) == (
        "Invalid API key: [redacted]; see https://bucket.s3.amazonaws.com/a.zip?[redacted]"
    )
    assert redact("nothing secret", [""]) == "nothing secret"
