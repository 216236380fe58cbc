{{/* The jobs of jobs.yaml. */}}

{{/* Not the labels of the Deployment's pods: Services must not send requests to a job. */}}
{{- define "s3proxy.jobSelectorLabels" -}}
app.kubernetes.io/name: {{ include "s3proxy.name" . }}-jobs
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "s3proxy.jobLabels" -}}
{{ include "s3proxy.jobSelectorLabels" .root }}
app.kubernetes.io/component: {{ .command }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Flags of `args` that commands need as well as `serve`: settings, except those of listeners. */}}
{{- define "s3proxy.settingsFlags" -}}
{{- $flags := list -}}
{{- $value := false -}}
{{- range .Values.args -}}
{{- $name := first (splitList "=" .) -}}
{{- if $value -}}
{{- $flags = append $flags . -}}
{{- $value = false -}}
{{- else if has $name (list "--config" "--set" "--backend" "--region" "--kms" "--level" "--log-format") -}}
{{- $flags = append $flags . -}}
{{- $value = not (contains "=" .) -}}
{{- end -}}
{{- end -}}
{{- toYaml $flags -}}
{{- end }}

{{/* The command line: dict "root" $ "command" "verify" "job" (its values). */}}
{{- define "s3proxy.jobArguments" -}}
{{- $arguments := concat (list .command) (include "s3proxy.settingsFlags" .root | fromYamlArray) .job.args -}}
{{- range .job.buckets -}}
{{- if eq $.command "sweep" }}{{ $arguments = append $arguments (printf "--bucket=%s" .) }}{{ else }}{{ $arguments = append $arguments . }}{{ end -}}
{{- end -}}
{{- toYaml $arguments -}}
{{- end }}

{{/* The spec of a Job: dict "root" $ "command" "verify" "job" (its values). */}}
{{- define "s3proxy.job" -}}
{{- $root := .root -}}
{{- $mounts := include "s3proxy.settingsMounts" $root -}}
{{- $volumes := include "s3proxy.settingsVolumes" $root | trim -}}
backoffLimit: {{ .job.backoffLimit }}
ttlSecondsAfterFinished: {{ $root.Values.jobs.ttlSecondsAfterFinished }}
{{- with $root.Values.jobs.activeDeadlineSeconds }}
activeDeadlineSeconds: {{ . }}
{{- end }}
template:
  metadata:
    {{- with $root.Values.podAnnotations }}
    annotations:
      {{- include "s3proxy.evaluated" (dict "root" $root "value" .) | nindent 6 }}
    {{- end }}
    labels:
      {{- include "s3proxy.jobLabels" . | nindent 6 }}
      {{- with $root.Values.podLabels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  spec:
    restartPolicy: Never
    serviceAccountName: {{ default (include "s3proxy.serviceAccountName" $root) $root.Values.jobs.serviceAccountName }}
    {{- include "s3proxy.podSettings" $root | trim | nindent 4 }}
    {{- with $root.Values.extraInitContainers }}
    initContainers:
      {{- include "s3proxy.evaluated" (dict "root" $root "value" .) | nindent 6 }}
    {{- end }}
    containers:
      - name: {{ .command }}
        {{- include "s3proxy.program" (dict "root" $root "serves" false) | nindent 8 }}
        args:
          {{- include "s3proxy.jobArguments" . | nindent 10 }}
        {{- with default $root.Values.resources .job.resources }}
        resources:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with $mounts }}
        volumeMounts:
          {{- . | nindent 10 }}
        {{- end }}
    {{- with $volumes }}
    volumes:
      {{- . | nindent 6 }}
    {{- end }}
{{- end }}
