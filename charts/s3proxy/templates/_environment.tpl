{{/*
The container's environment. Variables in extraEnv replace the chart's: with server-side apply, a name must
not occur twice.
*/}}

{{/* Variables that only `s3proxy serve` needs. */}}
{{- define "s3proxy.servingEnvironment" -}}
S3PROXY_LISTEN_PORT: "4433"
S3PROXY_LISTEN_ADMIN: {{ printf "%s:%d" .Values.admin.address (int .Values.admin.port) | quote }}
S3PROXY_LISTEN_DRAIN_DELAY: {{ printf "%ds" (int .Values.drain.delaySeconds) }}
S3PROXY_LISTEN_DRAIN_TIMEOUT: {{ printf "%ds" (int .Values.drain.timeoutSeconds) }}
{{- if not .Values.tls.enabled }}
S3PROXY_LISTEN_TLS: "off"
{{- end }}
{{- if not (kindIs "invalid" .Values.config.throttling) }}
S3PROXY_THROTTLING_REQUESTSMAX: {{ int64 .Values.config.throttling | toString | quote }}
{{- end }}
{{- with include "s3proxy.virtualHostDomains" . }}
S3PROXY_LISTEN_VIRTUAL_HOST_DOMAINS: {{ . | quote }}
{{- end }}
{{- with .Values.config.auth }}
S3PROXY_CLIENTS_AUTH: {{ . | quote }}
{{- end }}
{{- if .Values.auditStorage.enabled }}
S3PROXY_AUDIT_OUTPUT: {{ .Values.auditStorage.mountPath }}/audit.log
{{- end }}
{{- end }}

{{- define "s3proxy.plainEnvironment" -}}
{{- $config := .Values.config -}}
{{- with $config.host }}
S3PROXY_HOST: {{ . | quote }}
{{- else }}
{{- if and (include "s3proxy.dnsRedirection" .) (not .Values.configuration) }}
S3PROXY_HOST: aws
{{- end }}
{{- end }}
{{- with $config.region }}
S3PROXY_REGION: {{ . | quote }}
{{- end }}
{{- with $config.bodyMemory }}
S3PROXY_LIMITS_BODY_MEMORY: {{ . | quote }}
{{- end }}
{{- with include "s3proxy.kms" . }}
S3PROXY_KMS: {{ . | quote }}
{{- end }}
{{- with $config.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with $config.otlpTracesEndpoint }}
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {{ . | quote }}
{{- end }}
{{- with $config.otlpHeaders }}
OTEL_EXPORTER_OTLP_HEADERS: {{ . | quote }}
{{- end }}
{{- if include "s3proxy.hasConfiguration" . }}
S3PROXY_CONFIG: /etc/s3proxy/config/s3proxy.toml
{{- end }}
{{- $variables := dict "encrypt-key" "S3PROXY_ENCRYPT_KEY_FILE" "decrypt-keys" "S3PROXY_KEYS_DECRYPT_KEYS_FILE" -}}
{{- range $file, $_ := include "s3proxy.keyFiles" . | fromYaml }}
{{ get $variables $file }}: /etc/s3proxy/keys/{{ $file }}
{{- end }}
{{- end }}

{{- define "s3proxy.kms" -}}
{{- if .Values.config.kms -}}
{{- .Values.config.kms -}}
{{- else if and (include "s3proxy.constellation" .) (not (include "s3proxy.keyNamed" .)) -}}
key-service.kube-system:9000
{{- end -}}
{{- end }}

{{/* The chart's name of a variable that the program knows by several names. */}}
{{- define "s3proxy.variable" -}}
{{- $names := dict
  "S3PROXY_BACKEND" "S3PROXY_HOST"
  "S3PROXY_BACKEND_HOST" "S3PROXY_HOST"
  "S3PROXY_BACKEND_INSECURE" "S3PROXY_INSECURE"
  "S3PROXY_LIMITS_REQUESTS_PER_SECOND" "S3PROXY_THROTTLING_REQUESTSMAX"
  "S3PROXY_LIMITS_PUT_BODY" "S3PROXY_PUTBODY_MAX"
  "S3PROXY_KEYS_KMS" "S3PROXY_KMS"
  "S3PROXY_KEYS_ENCRYPT_KEY" "S3PROXY_ENCRYPT_KEY"
  "S3PROXY_KEYS_ENCRYPT_KEY_FILE" "S3PROXY_ENCRYPT_KEY_FILE"
  "S3PROXY_DECRYPT_KEYS" "S3PROXY_KEYS_DECRYPT_KEYS"
  "S3PROXY_DECRYPT_KEYS_FILE" "S3PROXY_KEYS_DECRYPT_KEYS_FILE"
  "S3PROXY_PORT" "S3PROXY_LISTEN_PORT"
  "S3PROXY_ADMIN" "S3PROXY_LISTEN_ADMIN"
  "S3PROXY_TLS" "S3PROXY_LISTEN_TLS"
  "S3PROXY_AUTH" "S3PROXY_CLIENTS_AUTH"
  "S3PROXY_VIRTUAL_HOST_DOMAINS" "S3PROXY_LISTEN_VIRTUAL_HOST_DOMAINS"
  "S3PROXY_BACKEND_REGION" "S3PROXY_REGION"
  "S3PROXY_AUDIT" "S3PROXY_AUDIT_OUTPUT"
  "S3PROXY_BODY_MEMORY" "S3PROXY_LIMITS_BODY_MEMORY"
-}}
{{- get $names . | default . -}}
{{- end }}

{{/* All variables, as a list: dict "root" $ "serves" (bool). */}}
{{- define "s3proxy.environment" -}}
{{- $root := .root -}}
{{- $extra := include "s3proxy.evaluated" (dict "root" $root "value" $root.Values.extraEnv) | fromYamlArray -}}
{{- $given := dict -}}
{{- /* A setting under another of its names replaces the chart's too: the program refuses both at once. */ -}}
{{- range $extra }}{{ $_ := set $given (include "s3proxy.variable" .name) true }}{{ end -}}
{{- /* A key given as S3PROXY_ENCRYPT_KEY replaces the file too. */ -}}
{{- range list "S3PROXY_ENCRYPT_KEY" "S3PROXY_KEYS_DECRYPT_KEYS" -}}
{{- if hasKey $given . }}{{ $_ := set $given (printf "%s_FILE" .) true }}{{ end -}}
{{- end -}}
{{- $variables := include "s3proxy.plainEnvironment" $root | fromYaml -}}
{{- $list := list -}}
{{- if .serves -}}
{{- range $name, $value := include "s3proxy.servingEnvironment" $root | fromYaml }}{{ $_ := set $variables $name $value }}{{ end -}}
{{- if and $root.Values.auditStorage.enabled (not (hasKey $given "POD_NAME")) -}}
{{- $list = append $list (dict "name" "POD_NAME" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $variables -}}
{{- if not (hasKey $given $name) }}{{ $list = append $list (dict "name" $name "value" $value) }}{{ end -}}
{{- end -}}
{{- range $name, $secret := dict "AWS_ACCESS_KEY_ID" "accessKey" "AWS_SECRET_ACCESS_KEY" "secretKey" -}}
{{- $reference := include "s3proxy.secret" (dict "root" $root "name" $secret) -}}
{{- if and $reference (not (hasKey $given $name)) -}}
{{- $parts := splitList " " $reference -}}
{{- $list = append $list (dict "name" $name "valueFrom" (dict "secretKeyRef" (dict "name" (first $parts) "key" (last $parts)))) -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $list $extra) -}}
{{- end }}
