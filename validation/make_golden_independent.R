# Golden file of independent filtering: DESeq2's own p-values, means and adjusted p-values, and R's lowess.
#
#   Rscript validation/make_golden_independent.R tests/data
suppressMessages(library(DESeq2))
out <- commandArgs(trailingOnly = TRUE)[1]
set.seed(5)
counts <- makeExampleDESeqDataSet(n = 600, m = 8, betaSD = 1, interceptMean = 2)
found <- results(DESeq(counts, quiet = TRUE), cooksCutoff = FALSE)
table <- data.frame(mean = found$baseMean, pval = found$pvalue, padj = found$padj)
write.csv(format(table, digits = 17), file.path(out, "independent_filtering.csv"), row.names = FALSE, quote = FALSE)
x <- seq(0, 1, length = 50)
y <- round(100 * sin(3 * x) + rnorm(50, sd = 5))
y[7] <- 300
curve <- data.frame(x = x, y = y, lowess = lowess(x, y, f = 1 / 5)$y)
write.csv(format(curve, digits = 17), file.path(out, "lowess.csv"), row.names = FALSE, quote = FALSE)
cat("DESeq2", as.character(packageVersion("DESeq2")), "R", as.character(getRversion()), "\n")
