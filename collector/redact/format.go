package redact

// format is a token that its issuer marks by how it begins.
type format struct {
	prefix string
	kind   string
	more   func(byte) bool // what may follow
	least  int             // how much of it must
}

func upperDigit(c byte) bool { return isUpper(c) || isDigit(c) }
func wordDash(c byte) bool   { return isAlnum(c) || c == '_' || c == '-' }
func dotted(c byte) bool     { return wordDash(c) || c == '.' || c == '=' }
func base64ish(c byte) bool {
	return isAlnum(c) || c == '+' || c == '/' || c == '=' || c == '_' || c == '-' || c == '%'
}

var formats = func() []format {
	list := []format{
		{"AKIA", "aws-access-key", upperDigit, 16}, {"ASIA", "aws-access-key", upperDigit, 16}, {"ABIA", "aws-access-key", upperDigit, 16},
		{"ACCA", "aws-access-key", upperDigit, 16}, {"A3T", "aws-access-key", upperDigit, 17}, {"amzn.mws.", "aws-mws-token", wordDash, 20},
		{"FwoG", "aws-session-token", base64ish, 60}, {"IQoJ", "aws-session-token", base64ish, 60}, {"AQoD", "aws-session-token", base64ish, 60},
		{"bedrock-api-key-", "aws-bedrock-key", base64ish, 20}, {"ABSK", "aws-bedrock-key", base64ish, 60},
		{"eyJ", "jwt", dotted, 20},
		{"SG.", "sendgrid-key", dotted, 30}, {"AIza", "google-api-key", wordDash, 30}, {"ya29.", "google-oauth-token", dotted, 20},
		{"GOCSPX-", "google-oauth-secret", wordDash, 20}, {"1//0", "google-refresh-token", wordDash, 30},
		{"key-", "mailgun-key", isHex, 32}, {"dapi", "databricks-token", isHex, 30}, {"sk-", "api-key", wordDash, 20},
		{"SUA", "nats-seed", upperDigit, 55}, {"SAA", "nats-seed", upperDigit, 55}, {"AGE-SECRET-KEY-1", "age-key", upperDigit, 20}, {"LTAI", "alibaba-access-key", isAlnum, 12}, {"AKID", "tencent-secret-id", isAlnum, 28},
		{"EAACEdEose0cBA", "facebook-token", isAlnum, 10}, {"EAAA", "square-token", wordDash, 56},
		{":AA", "telegram-bot-token", wordDash, 30}, {"v1.0-", "cloudflare-key", wordDash, 60}, {".atlasv1.", "terraform-token", wordDash, 30},
		{"AC", "twilio-sid", isHex, 32}, {"SK", "twilio-key", isHex, 32},
		{"AccountKey=", "azure-storage-key", base64ish, 20}, {"SharedAccessKey=", "azure-key", base64ish, 20},
	}
	for kind, prefixes := range map[string][]string{
		"github-token":       {"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"},
		"gitlab-token":       {"glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "glimt-", "glagent-", "gloas-"},
		"slack-token":        {"xoxb-", "xoxa-", "xoxp-", "xoxr-", "xoxs-", "xoxe-", "xoxe.", "xoxc-", "xoxd-", "xapp-"},
		"stripe-key":         {"sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"},
		"npm-token":          {"npm_"},
		"pypi-token":         {"pypi-"},
		"digitalocean-token": {"dop_v1_", "doo_v1_", "dor_v1_"},
		"heroku-key":         {"HRKU-"},
		"vault-token":        {"hvs.", "hvb.", "hvr."},
		"docker-token":       {"dckr_pat_", "dckr_oat_"},
		"newrelic-key":       {"NRAK-", "NRII-", "NRJS-", "NRIQ-", "NRRA-"},
		"shopify-token":      {"shpat_", "shpss_", "shpca_", "shppa_"},
		"square-token":       {"sq0atp-", "sq0csp-", "sq0idp-"},
		"linear-key":         {"lin_api_", "lin_oauth_"},
		"grafana-token":      {"glsa_", "glc_"},
		"sentry-token":       {"sntrys_", "sntryu_"},
		"postman-key":        {"PMAK-"},
		"rubygems-key":       {"rubygems_"},
		"atlassian-token":    {"ATATT3", "ATCTT3", "ATBB"},
		"doppler-token":      {"dp.pt.", "dp.st.", "dp.ct.", "dp.sa."},
		"huggingface-token":  {"hf_"},
		"sendinblue-key":     {"xkeysib-", "xsmtpsib-"},
		"pulumi-token":       {"pul-"},
		"posthog-key":        {"phx_", "phc_"},
		"notion-token":       {"ntn_"},
		"supabase-token":     {"sbp_"},
		"netlify-token":      {"nfp_"},
		"tailscale-key":      {"tskey-"},
		"contentful-token":   {"CFPAT-"},
		"figma-token":        {"figd_"},
		"buildkite-token":    {"bkua_", "bkaj_"},
		"planetscale-token":  {"pscale_tkn_", "pscale_pw_", "pscale_oauth_"},
		"flutterwave-key":    {"FLWSECK"},
		"replicate-token":    {"r8_"},
		"okta-token":         {"SSWS "},
		"prefect-key":        {"pnu_", "pnb_"},
		"readme-key":         {"rdme_"},
		"shippo-token":       {"shippo_live_", "shippo_test_"},
		"typeform-token":     {"tfp_"},
		"dynatrace-token":    {"dt0c01.", "dt0s16."},
		"easypost-key":       {"EZAK", "EZTK"},
		"adafruit-key":       {"aio_"},
		"clojars-token":      {"CLOJARS_"},
		"duffel-token":       {"duffel_live_", "duffel_test_"},
		"fly-token":          {"fm1_", "fm2_", "fo1_"},
		"openshift-token":    {"sha256~"},
		"jfrog-token":        {"AKCp", "cmVmdGtuO"},
	} {
		for _, p := range prefixes {
			list = append(list, format{p, kind, dotted, 16})
		}
	}
	return list
}()

// byLast are the formats by the last byte of their prefix.
var byLast = func() (t [256][]*format) {
	for i := range formats {
		f := &formats[i]
		last := f.prefix[len(f.prefix)-1]
		t[last] = append(t[last], f)
	}
	return t
}()

// formatAt answers the end of a token of known form whose prefix ends at end, and its beginning and kind. The prefix's case counts.
func formatAt(line []byte, end int) (from, to int, kind string) {
	for _, f := range byLast[line[end-1]] {
		from := end - len(f.prefix)
		if from < 0 || string(line[from:end]) != f.prefix {
			continue
		}
		if c := f.prefix[0]; from > 0 && isAlnum(c) && isAlnum(line[from-1]) && !escaped(line, from) {
			continue
		}
		to := end
		for to < len(line) && f.more(line[to]) {
			to++
		}
		switch {
		case to-end < f.least:
			continue
		case f.kind == "telegram-bot-token":
			for from > 0 && isDigit(line[from-1]) {
				from--
			}
			if end-from < 8 {
				continue
			}
		case f.kind == "terraform-token":
			for from > 0 && isAlnum(line[from-1]) {
				from--
			}
		case f.kind == "azure-storage-key", f.kind == "azure-key":
			from = end
		case f.prefix == "sk-":
			if !hasDigit(line[end:to]) {
				continue
			}
		case f.kind == "jwt":
			// {"typ... of any three parts; two and one are left to the blobs.
			dots := 0
			for _, c := range line[end:to] {
				if c == '.' {
					dots++
				}
			}
			if dots == 0 {
				continue
			}
		}
		for to > end && (line[to-1] == '.' || line[to-1] == '-') {
			to--
		}
		return from, to, f.kind
	}
	return 0, 0, ""
}

// escaped tells whether the letter before at belongs to an escape: \n, \t, \u0022, %3D.
func escaped(line []byte, at int) bool {
	switch {
	case at >= 2 && line[at-2] == '\\':
		return true
	case at >= 6 && line[at-6] == '\\' && line[at-5] == 'u':
		return true
	case at >= 3 && line[at-3] == '%' && isHex(line[at-2]) && isHex(line[at-1]):
		return true
	}
	return false
}

func hasDigit(b []byte) bool {
	for _, c := range b {
		if isDigit(c) {
			return true
		}
	}
	return false
}
