"""The manifest that a new campaign begins with: it is valid as it stands, and says what else there is."""

STARTER = """\
# yaml-language-server: $schema=batchmod.schema.json
# A campaign for batchmod. Check it with `batchmod validate`, see what it would do with `batchmod plan`.
version: 1
name: my-campaign                      # a-z, 0-9 and -; runs and reports are named after it

# accounts:                            # default is always there: the credentials in the environment
#   prod: {profile: prod}              # a profile of the vendor CLI's config file; never an access key itself
#   eu: {role_arn: "acs:ram::1234567890123456:role/redis-operator", via: prod}
# endpoints: {cn-hangzhou: vpc}        # or a URL; of sts and kms too

defaults:
  region: cn-hangzhou                  # of targets that name none

targets:
  - r-bp1aaaaaaaaaaaaa                 # an instance id ...
  - id: r-bp1bbbbbbbbbbbbb             # ... or more about it; vars are for templates
    region: cn-shanghai
    vars: {team: pay}
  # - from: fleet.csv                  # or .jsonl: id, region, account; every other column is a var
  # - select: {tags: {env: prod}}      # all that are so when the plan is made; their tags are vars

# exclude: [r-bp1zzzzzzzzzzzzz, "r-bp1test*"]

changes:                               # each kind at most once; on every instance in this order
  # - attributes:                      # only what differs is sent
  #     name: "{team}-{region}-cache"  # or {pattern: "^old-(.*)$", replace: "new-\\\\1"}
  #     release_protection: true
  - password:
      generate: {length: 24}           # or env: NEW_PASSWORD, file: path, secret: reference; never the password itself
      # max_age: 30d                   # a proved one that is younger stays, for a job that runs every night
  # - tde: {}                          # cannot be undone; or {key_id: ..., role_arn: ...}

proof:
  password: settled                    # accepted < settled < login < login-and-old-refused
  # tls: auto                          # or true or false: whether logins go through TLS

# consumers:                           # told of each password that has become current, by JSON on stdin
#   - run: ["./refresh.sh"]            # {per: wave, reveal: true, required: true, timeout: 60s} if they are to be

rollout:
  max_targets: 10                      # a plan that would change more is refused
  max_failures: 2%                     # never exceeded, not even by what is in flight
  # waves: [1, 10%, 100%]              # canary first: instances that are changed up to the end of each wave
  # pause: 10m                         # between waves; or manual: until you have looked, and `batchmod resume`
  # check: ["./health.sh"]             # run between waves; any exit code but 0 stops the run
  # not_with: team                     # never two instances with the same value of this var in change at once
  # window: {days: [sat, sun], start: "02:00", end: "05:00", timezone: Asia/Shanghai}

# Everything below shows the defaults.
# secrets: {store: embedded, recipients: []}          # age1... keys that open it too; or store: openbao, or kms
# limits:
#   rate: 200/60s                      # calls per period, of each API in each account and region; or auto
#   apis: {DescribeInstanceAttribute: 1000/1s}
#   connections: 64                    # requests in flight
# timeouts: {connect: 5s, read: 10s, check: 5m}
# retry: {attempts: 6, max_delay: 60s, busy_timeout: 30m, settle_timeout: 60m, settle_quiet: 60s, fence: 16m}
# report: {formats: [csv, json]}       # html: one page to look at; junit for a test tab, md for a pull request
# notify: [{env: DINGTALK_URL}]       # or file: path; told how a run ended; the URL itself is never written here
"""
