{{/*
Combinations of values that cannot work, beyond the schema. Each message names a valid choice.
*/}}

{{/* "yes" if the values name a key other than Constellation's service. */}}
{{- define "s3proxy.keyNamed" -}}
{{- $root := . -}}
{{- $found := include "s3proxy.secret" (dict "root" . "name" "encryptKey") -}}
{{- range .Values.extraEnv -}}
{{- if has (include "s3proxy.variable" .name) (list "S3PROXY_ENCRYPT_KEY" "S3PROXY_ENCRYPT_KEY_FILE" "S3PROXY_KMS") }}{{ $found = "yes" }}{{ end -}}
{{- end -}}
{{- range .Values.args -}}
{{- if hasPrefix "--kms" . }}{{ $found = "yes" }}{{ end -}}
{{- end -}}
{{- /* The content of the user's own object is not known here; the program checks it at start-up. */ -}}
{{- if or .Values.existingConfigMap .Values.existingConfigSecret }}{{ $found = "yes" }}{{ end -}}
{{- $key := `(?m)^\s*(\[\[\s*keys\.(vault|aws_kms|pkcs11|local)\s*\]\]|(keys\.)?(encrypt_key|encrypt_key_file|kms)\s*=)` -}}
{{- if regexMatch $key .Values.configuration }}{{ $found = "yes" }}{{ end -}}
{{- if $found }}yes{{ end -}}
{{- end }}

{{/* A size or a Kubernetes quantity in MiB, rounded down; 0 for any other text. */}}
{{- define "s3proxy.mebibytes" -}}
{{- $number := regexFind `^[0-9]+(\.[0-9]+)?` . | float64 -}}
{{- $unit := regexReplaceAll `^[0-9.]+ ?` . "" -}}
{{- $units := dict "" 0.00000095367431640625 "B" 0.00000095367431640625 "k" 0.00095367431640625 "KiB" 0.0009765625 "Ki" 0.0009765625 "M" 0.95367431640625 "MiB" 1.0 "Mi" 1.0 "G" 953.67431640625 "GiB" 1024.0 "Gi" 1024.0 -}}
{{- mulf $number (get $units $unit | default 0.0) | floor | int64 -}}
{{- end }}

{{/* The memory limit that config.bodyMemory needs, if the one in `resources` is lower. */}}
{{- define "s3proxy.memoryNeeded" -}}
{{- $limit := dig "limits" "memory" "" (default dict .Values.resources) | toString -}}
{{- if and .Values.config.bodyMemory $limit -}}
{{- $needed := add 25 (mul 2 (include "s3proxy.mebibytes" .Values.config.bodyMemory | int64)) -}}
{{- if lt (include "s3proxy.mebibytes" $limit | int64) $needed }}{{ printf "%dMi" $needed }}{{ end -}}
{{- end -}}
{{- end }}

{{/* The sum of all bounds (docs/operations.md#sizing), if `resources` has less. A lower limit of connections in a
     configuration file is not known here. */}}
{{- define "s3proxy.memoryAdvice" -}}
{{- $limit := dig "limits" "memory" "" (default dict .Values.resources) | toString -}}
{{- $body := default "48 MiB" .Values.config.bodyMemory -}}
{{- $sum := add 25 (mul 2 (include "s3proxy.mebibytes" $body | int64)) (div (mul 33 4096) 1024) -}}
{{- $lowered := regexMatch `(?m)^\s*(listen\.)?max_connections\s*=` .Values.configuration -}}
{{- range .Values.extraEnv }}{{ if eq .name "S3PROXY_LISTEN_MAX_CONNECTIONS" }}{{ $lowered = true }}{{ end }}{{ end -}}
{{- if and $limit (not $lowered) (lt (include "s3proxy.mebibytes" $limit | int64) $sum) }}{{ printf "%d MiB" $sum }}{{ end -}}
{{- end }}

{{- define "s3proxy.check" -}}
{{- $config := .Values.config -}}
{{- $file := include "s3proxy.hasConfiguration" . -}}
{{- if not (or (include "s3proxy.keyNamed" .) (include "s3proxy.kms" .)) -}}
{{- fail "\n\nNo key: set config.existingSecret to a Secret with a key that `s3proxy keygen` made (encryptKey in it), or config.kms, or [[keys.…]] in configuration. Keep copies of the key elsewhere: without it the objects are lost." -}}
{{- end -}}
{{- range $name, $value := dict "config.encryptKey" $config.encryptKey "config.accessKey" (include "s3proxy.accessKey" .) "config.secretKey" (include "s3proxy.secretKey" .) -}}
{{- if has (lower $value) (list "changeme" "replaceme") -}}
{{- fail (printf "\n\n%s is still %q: put the real value there, or better into a Secret that config.existingSecret names." $name $value) -}}
{{- end -}}
{{- end -}}
{{- $hostNamed := or $config.host $file (include "s3proxy.dnsRedirection" .) -}}
{{- range .Values.extraEnv }}{{ if eq .name "S3PROXY_HOST" }}{{ $hostNamed = true }}{{ end }}{{ end -}}
{{- range .Values.args }}{{ if hasPrefix "--backend" . }}{{ $hostNamed = true }}{{ end }}{{ end -}}
{{- if not $hostNamed -}}
{{- fail "\n\nNo backend: set config.host, such as s3.eu-west-1.amazonaws.com, or backend.host in configuration. For clients that keep AWS's names, set dnsRedirection.enabled." -}}
{{- end -}}
{{- if and $config.host (include "s3proxy.dnsRedirection" .) -}}
{{- fail "\n\nconfig.host and dnsRedirection exclude each other: with DNS redirection the backend is the AWS endpoint that the client named. Remove one of them." -}}
{{- end -}}
{{- if and (include "s3proxy.tls" .) (not (include "s3proxy.tlsSecret" .)) -}}
{{- $mounted := false -}}
{{- range .Values.extraVolumeMounts }}{{ if hasPrefix "/etc/s3proxy/certs" .mountPath }}{{ $mounted = true }}{{ end }}{{ end -}}
{{- $elsewhere := regexMatch `(?m)^\s*(listen\.)?(certificates|tls)\s*=` .Values.configuration -}}
{{- range .Values.extraEnv }}{{ if has .name (list "S3PROXY_CERT" "S3PROXY_LISTEN_CERTIFICATES" "S3PROXY_LISTEN_TLS" "S3PROXY_TLS") }}{{ $elsewhere = true }}{{ end }}{{ end -}}
{{- range .Values.args }}{{ if hasPrefix "--cert" . }}{{ $elsewhere = true }}{{ end }}{{ end -}}
{{- if not (or $mounted $elsewhere .Values.existingConfigMap .Values.existingConfigSecret) -}}
{{- fail "\n\nTLS is on, but there is no certificate: set cert.enable (cert-manager), tls.existingSecret, or a mount at /etc/s3proxy/certs in extraVolumeMounts. For plain HTTP, where the way to the clients is safe: tls.enabled=false." -}}
{{- end -}}
{{- end -}}
{{- if and (include "s3proxy.certManager" .) (not (include "s3proxy.selfSigned" .)) (not .Values.cert.issuerRefName) -}}
{{- fail "\n\ncert.enable needs cert.issuerRefName, the name of a cert-manager issuer, or cert.selfSigned=true." -}}
{{- end -}}
{{- if and (include "s3proxy.ownSecrets" . | fromYaml) (eq $config.existingSecret (include "s3proxy.fullname" .)) -}}
{{- fail (printf "\n\nconfig.existingSecret is %q, the name of the Secret that the chart makes from accessKey, secretKey, encryptKey and decryptKeys: put these into your Secret too, or give it another name." $config.existingSecret) -}}
{{- end -}}
{{- if and .Values.configuration (or .Values.existingConfigMap .Values.existingConfigSecret) -}}
{{- fail "\n\nconfiguration and existingConfigMap or existingConfigSecret exclude each other: there is one configuration file." -}}
{{- end -}}
{{- if and .Values.existingConfigMap .Values.existingConfigSecret -}}
{{- fail "\n\nexistingConfigMap and existingConfigSecret exclude each other: there is one configuration file." -}}
{{- end -}}
{{- if and (regexMatch `(?m)^\s*auth\s*=\s*"kubernetes"` .Values.configuration) (not (regexMatch `(?m)^\s*jwt_file\s*=` .Values.configuration)) (not .Values.serviceAccount.automount) -}}
{{- fail "\n\nconfiguration logs in to Vault with the service account: set serviceAccount.automount=true, or jwt_file with a projected token in extraVolumes." -}}
{{- end -}}
{{- range $half, $other := dict "accessKey" "secretKey" "secretKey" "accessKey" -}}
{{- if and (include "s3proxy.secret" (dict "root" $ "name" $half)) (not (include "s3proxy.secret" (dict "root" $ "name" $other))) -}}
{{- fail (printf "\n\nconfig.%s is set, and config.%s is not: a credential has both." $half $other) -}}
{{- end -}}
{{- end -}}
{{- with include "s3proxy.memoryNeeded" . -}}
{{- fail (printf "\n\nconfig.bodyMemory=%q does not fit into resources.limits.memory: the program needs 25 MiB and twice the body memory, so set the limit to %s or more." $config.bodyMemory .) -}}
{{- end -}}
{{- with .Values.auditStorage -}}
{{- if and .enabled (eq .kind "PersistentVolumeClaim") (not .existingClaim) (not (has "ReadWriteMany" .accessModes)) (include "s3proxy.replicated" $) -}}
{{- fail "\n\nauditStorage: replicas on several nodes need a volume with accessModes [ReadWriteMany]. Alternatives: kind emptyDir with a shipper in extraContainers, or audit.output = \"stdout\" in configuration." -}}
{{- end -}}
{{- end -}}
{{- range list "verify" "rewrap" "migrate" -}}
{{- $job := get $.Values.jobs . -}}
{{- if and $job.enabled (not $job.buckets) -}}
{{- fail (printf "\n\njobs.%s.enabled needs jobs.%s.buckets: the buckets, or prefixes in them, to work on." . .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not (or .Values.autoscaling.targetCPUUtilizationPercentage .Values.autoscaling.targetMemoryUtilizationPercentage .Values.autoscaling.targetRequestsInFlight)) -}}
{{- fail "\n\nautoscaling.enabled needs a target: targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or targetRequestsInFlight." -}}
{{- end -}}
{{- range list "httpRoute" "tlsRoute" -}}
{{- $route := get $.Values.gateway . -}}
{{- if and $route.enabled (not $route.parentRefs) -}}
{{- fail (printf "\n\ngateway.%s.enabled needs gateway.%s.parentRefs: the gateways that take the route." . .) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.gateway.tlsRoute.enabled (not (include "s3proxy.tls" .)) -}}
{{- fail "\n\ngateway.tlsRoute passes TLS through to the proxy, which serves plain HTTP here: use gateway.httpRoute, or switch tls.enabled on." -}}
{{- end -}}
{{- if and .Values.gateway.backendTLSPolicy.enabled (not (and .Values.gateway.backendTLSPolicy.hostname .Values.gateway.backendTLSPolicy.caCertificateRefs)) -}}
{{- fail "\n\ngateway.backendTLSPolicy.enabled needs hostname, a name in the proxy's certificate, and caCertificateRefs." -}}
{{- end -}}
{{- end }}
