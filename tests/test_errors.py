"""What errors may say."""

from sources.braze.errors import redact


def test_redaction_covers_secrets_and_signed_urls() -> None:
    text = "Invalid API key: k-1; see https://u:p@bucket.s3.amazonaws.com/a.zip?X-Amz-Signature=abc&b=1."
    assert redact(text, ["k-1"]) == (
        "Invalid API key: [redacted]; see https://bucket.s3.amazonaws.com/a.zip?[redacted]"
    )
    assert redact("nothing secret", [""]) == "nothing secret"


def test_personal_values_are_left_out_where_they_are_words_and_the_key_everywhere() -> None:
    text = "max number of ids exceeded: 'a', ada@example.com, a-1 and xk-1y"
    assert redact(text, ["k-1"], ["a", "a-1", "b", "ada@example.com"]) == (
        "max number of ids exceeded: '[redacted]', [redacted], [redacted] and x[redacted]y"
    )
