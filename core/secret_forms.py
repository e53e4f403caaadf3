"""Keys that are known by their form, whatever stands around them: one pattern for each provider. Data.

Lengths are lower bounds, shorter than the real ones: a key that is cut or comes in a new length is still one.
"""

from __future__ import annotations

import re

_NOT_INSIDE = r"(?<![A-Za-z0-9_-])"
KEYS = (
    r"(?:sk|pk|rk)[-_](?:ant-|proj-|live_|test_|or-)?[A-Za-z0-9_-]{12,}",  # OpenAI, Anthropic, Stripe
    r"whsec_[A-Za-z0-9+/=]{12,}",  # Stripe's and Svix's webhooks
    r"gh[pousr]_[A-Za-z0-9]{16,}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{20,}",
    r"gl(?:pat|rt|rtr|dt|ptt|cbt|ft|imt|agent|soat|ffct|wt)-[\w-]{16,}",  # GitLab
    r"GR1348941[\w-]{16,}",
    r"xox[abeoprs]-[\w-]{8,}|xapp-\d-[\w-]{8,}|xoxe\.[\w.-]{8,}",  # Slack
    r"(?:bot)?\d{6,12}:(?:AA[\w-]{30,}|(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{33,40}(?![\w-]))",  # Telegram
    r"(?:AKIA|ASIA|AGPA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{12,}",  # AWS
    r"AIza[\w-]{20,}|ya29\.[\w-]{10,}|GOCSPX-[\w-]{20,}",  # Google
    r"hf_[A-Za-z0-9]{16,}",  # Hugging Face
    r"npm_[A-Za-z0-9]{20,}|pypi-[\w-]{20,}|rubygems_[0-9a-f]{32,}",
    r"eyJ[\w-]{6,4000}\.[\w-]{4,4000}(?:\.[\w-]{0,4000})?",  # JSON web tokens
    r"SK[0-9a-z]{32}|AC[0-9a-f]{32}:[0-9a-f]{32}",  # Twilio
    r"key-[0-9a-z]{24,}|[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}|[0-9a-f]{32}-us\d{1,2}"
    r"|SG\.[\w-]{10,}\.[\w-]{10,}",  # Mailgun, Mailchimp, SendGrid
    r"dapi[0-9a-z]{30,}(?:-\d)?",  # Databricks
    r"dckr_[po]at_[\w-]{20,}",  # Docker Hub
    r"shp(?:at|ss|ca|pa)_[0-9a-zA-Z]{20,}",  # Shopify
    r"AGE-SECRET-KEY-1[A-Z0-9]{20,}",
    r"do[opr]_v1_[0-9a-f]{20,}",  # DigitalOcean
    r"glsa_[A-Za-z0-9]{20,}_[0-9a-f]{8}|glc_[A-Za-z0-9+/=]{32,}",  # Grafana
    r"NRAK-[A-Z0-9]{20,}|NRII-[\w-]{20,}",  # New Relic
    r"lin_api_[A-Za-z0-9]{32,}|ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{40,}|figd_[\w-]{20,}",  # Linear, Notion, Figma
    r"gsk_[A-Za-z0-9]{16,}|pplx-[A-Za-z0-9]{32,}|r8_[A-Za-z0-9]{32,}|fw_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{32,}",
    r"pul-[0-9a-f]{40}|[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}",  # Pulumi, Terraform
    r"hv[sbr]\.[\w-]{20,}|dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9.]{20,}",  # Vault, Doppler
    r"pscale_(?:tkn|pw|oauth)_[\w.=-]{20,}|PMAK-[0-9a-f]{20,}-[0-9a-f]{30,}",  # PlanetScale, Postman
    r"sntrys_[A-Za-z0-9+/=_-]{30,}|sntryu_[0-9a-f]{60,}",  # Sentry
    r"EAAA[\w-]{40,}|sq0[a-z]{3}-[\w-]{20,}|sq[pua]_[0-9a-f]{40}",  # Square, Sonar
    r"tskey-[a-z]{2,10}-[\w-]{16,}|v1\.0-[0-9a-f]{24,}",  # Tailscale, Cloudflare
    r"EZ[AT]K[0-9a-zA-Z]{50,}|bkua_[0-9a-f]{40}|ATATT3[\w=-]{40,}",  # EasyPost, Buildkite, Atlassian
)
KEY = re.compile("|".join(f"{_NOT_INSIDE}(?:{pattern})" for pattern in KEYS))
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r"|(?:^[A-Za-z0-9+/=]{16,100}\r?\n){1,200}-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    re.MULTILINE,
)
OPAQUE = re.compile(
    r"(?<![\w+=-])(?!_Z|sha\d{3}-)(?=[\w+=-]{0,4000}[a-z])(?=[\w+=-]{0,4000}[A-Z])"
    r"(?=(?:[A-Za-z_+=-]{0,400}\d){4})[\w+=-]{40,}"
)
"""Long strings that look drawn at random; hexadecimal ones are hashes of git and of images."""
