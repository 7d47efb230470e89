#!/bin/sh
# One of Apache Kafka's own commands, by the name that this file is called by.
case ${0##*/} in
    kafka-topics) class=org.apache.kafka.tools.TopicCommand ;;
    kafka-console-consumer) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    kafka-consumer-groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    *) echo "error: ${0##*/} is none of Kafka's commands in this image" >&2 && exit 2 ;;
esac
home=$(echo "$MAINSTEM_CACHE"/kafka-*)
exec "$MAINSTEM_JAVA" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable -Xlog:all=error:stderr \
    --sun-misc-unsafe-memory-access=allow -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -cp "$home/jars/*:$home/tools/*" "$class" "$@"
