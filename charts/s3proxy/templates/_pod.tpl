{{/*
Parts of a pod that the Deployment, the jobs and the test share. The user's lists and maps may contain template
expressions: `s3proxy.evaluated`.
*/}}

{{/* A value of the user as YAML, with `{{ … }}` evaluated: dict "root" $ "value" … */}}
{{- define "s3proxy.evaluated" -}}
{{- $text := toYaml .value -}}
{{- if contains "{{" $text }}{{ tpl $text .root }}{{ else }}{{ $text }}{{ end -}}
{{- end }}

{{/* Settings of the pod itself, the same for every container. */}}
{{- define "s3proxy.podSettings" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
enableServiceLinks: false
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.podDnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The program: image, environment, security context. dict "root" $ "serves" (bool): a job does not serve. */}}
{{- define "s3proxy.program" -}}
{{- $root := .root -}}
image: {{ include "s3proxy.image" $root | quote }}
imagePullPolicy: {{ include "s3proxy.pullPolicy" $root }}
env:
  {{- include "s3proxy.environment" . | nindent 2 }}
{{- with $root.Values.envFrom }}
envFrom:
  {{- include "s3proxy.evaluated" (dict "root" $root "value" .) | nindent 2 }}
{{- end }}
{{- with $root.Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The mounts of the configuration, the keys and the user's own files, as a list. They are folders, because changes
     of a single mounted file do not reach a running pod. */}}
{{- define "s3proxy.settingsMounts" -}}
{{- $mounts := list -}}
{{- if include "s3proxy.keyFiles" . | fromYaml -}}
{{- $mounts = append $mounts (dict "name" "keys" "mountPath" "/etc/s3proxy/keys" "readOnly" true) -}}
{{- end -}}
{{- if include "s3proxy.hasConfiguration" . -}}
{{- $mounts = append $mounts (dict "name" "configuration" "mountPath" "/etc/s3proxy/config" "readOnly" true) -}}
{{- end -}}
{{- $mounts = concat $mounts (include "s3proxy.evaluated" (dict "root" . "value" .Values.extraVolumeMounts) | fromYamlArray) -}}
{{- if $mounts }}{{ toYaml $mounts }}{{ end -}}
{{- end }}

{{/* The volumes of these mounts. */}}
{{- define "s3proxy.settingsVolumes" -}}
{{- with include "s3proxy.keyFiles" . | fromYaml }}
- name: keys
  projected:
    defaultMode: 0440
    sources:
      {{- range $file, $reference := . }}
      {{- $parts := splitList " " $reference }}
      - secret:
          name: {{ first $parts }}
          items:
            - key: {{ last $parts }}
              path: {{ $file }}
      {{- end }}
{{- end }}
{{- if include "s3proxy.hasConfiguration" . }}
- name: configuration
  {{- if or .Values.existingConfigSecret (and (eq .Values.configurationKind "Secret") (not .Values.existingConfigMap)) }}
  secret:
    secretName: {{ default (printf "%s-config" (include "s3proxy.fullname" .)) .Values.existingConfigSecret }}
    defaultMode: 0440
  {{- else }}
  configMap:
    name: {{ default (printf "%s-config" (include "s3proxy.fullname" .)) .Values.existingConfigMap }}
  {{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ include "s3proxy.evaluated" (dict "root" $ "value" .) }}
{{- end }}
{{- end }}

{{/* The volume of the audit log, with `auditStorage.enabled`. */}}
{{- define "s3proxy.auditVolume" -}}
{{- with .Values.auditStorage -}}
- name: audit
  {{- if eq .kind "emptyDir" }}
  emptyDir:
    sizeLimit: {{ .size }}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ default (printf "%s-audit" (include "s3proxy.fullname" $)) .existingClaim }}
  {{- end }}
{{- end -}}
{{- end }}
