# DESeq2's fold changes of the last coefficient, as estimated and shrunken (lfcShrink, type "normal").
#   Rscript deseq2_shrinkage.R counts.csv obs.csv "~ batch + condition" out.csv
suppressMessages(library(DESeq2))
argument <- commandArgs(trailingOnly = TRUE)
obs <- read.csv(argument[2], row.names = 1)
design <- as.formula(argument[3])
for (name in all.vars(design)) obs[[name]] <- factor(obs[[name]])
counts <- as.matrix(read.csv(argument[1], row.names = 1))
data <- suppressMessages(DESeq(DESeqDataSetFromMatrix(counts, obs, design)))
last <- tail(resultsNames(data), 1)
estimated <- results(data, name = last)$log2FoldChange
shrunken <- suppressMessages(lfcShrink(data, coef = last, type = "normal"))$log2FoldChange
write.csv(data.frame(estimated, shrunken), argument[4], row.names = FALSE)
cat(paste("DESeq2", packageVersion("DESeq2"), "\n"))
